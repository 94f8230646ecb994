"""Many clients at one time, whose requests the server joins: each gets its own vectors, in its own order."""

import threading

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving", reason="the extra [serving]")

from tests.export.batching import BatchingSession, BatchingStub
from tfcontrastive.export import EmbeddingClient


def test_nothing_is_lost_or_reordered(encoder, exported, cpp):
    images = np.random.RandomState(3).rand(40, 8, 8, 3).astype("float32")
    expected = encoder(images).numpy()
    stub = BatchingStub(exported, cpp, max_batch_size=8, timeout_micros=20_000, allowed=(1, 4, 8))
    received = [None] * 8

    def ask(number):
        with EmbeddingClient(stub.grpc_address, batch_size=3, timeout=60) as client:
            received[number] = client.embed(images[number * 5 : number * 5 + 5])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stub.close()
    np.testing.assert_allclose(np.concatenate(received), expected, atol=1e-5)
    assert sum(stub.batching.sizes) == 40
    assert max(stub.batching.sizes) > 3, "no two requests shared a batch"
    assert max(stub.batching.sizes) <= 8


class Doubles:
    """Answers twice what it is sent, and refuses a batch with a negative number."""

    def run(self, signature, images):
        if (images < 0).any():
            raise ValueError("negative")
        assert len(images) in (1, 4)
        return {"embedding": 2 * images}


def test_a_batch_that_fails_fails_its_requests_alone():
    session = BatchingSession(Doubles(), max_batch_size=4, timeout_micros=0, allowed=(1, 4))
    np.testing.assert_array_equal(session.run("f", images=np.float32([[1], [2]]))["embedding"], [[2], [4]])
    with pytest.raises(ValueError, match="negative"):
        session.run("f", images=np.float32([[-1]]))
    np.testing.assert_array_equal(session.run("f", images=np.float32([[3]]))["embedding"], [[6]])
    session.close()
