"""Many clients at once, whose requests a server joins as TensorFlow Serving does: each gets its own vectors."""

import threading
import time

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving", reason="the extra [serving]")

from benchmarks.batching_server import Batcher, BatchingRule, BatchingServer
from benchmarks.load import drive
from tfcontrastive.export import CppError


def test_no_row_is_lost_or_reordered_under_load(cpp):
    images = (
        np.random.RandomState(3).rand(17, 16, 16, 3).astype("float32") ** np.linspace(0.2, 5, 17)[:, None, None, None]
    )
    images = images.astype("float32")
    expected = np.concatenate([cpp.run(images=image[None])["embedding"] for image in images])
    apart = np.abs(expected[:, None] - expected[None]).max(axis=2) + np.eye(17)
    assert apart.min() > 2e-4 * np.abs(expected).max(), "no two vectors may pass for one another"
    rule = BatchingRule(max_batch_size=7, batch_timeout_micros=2000, allowed_batch_sizes=(1, 4, 7))
    server = BatchingServer(cpp, rule)
    try:
        load = drive(server.address, images, expected, clients=5, rows=3, requests=6)
    finally:
        server.close()
    assert len(load.latencies) == 5 * 6
    assert load.images == 5 * 6 * 3
    assert load.wrong == 0
    assert max(server.batcher.sizes) == 6, "requests of three rows share a run of at most seven"


def answers_of(batcher, requests):
    """What each request gets, in its place: an array or an exception. The first is being run when the others arrive."""
    answers = [None] * len(requests)

    def ask(place, values):
        try:
            answers[place] = batcher("double", {"x": np.array(values)})["y"].tolist()
        except CppError as error:
            answers[place] = error.code

    threads = [threading.Thread(target=ask, args=pair) for pair in enumerate(requests)]
    return threads, answers


def test_the_rule_of_batching():
    started, go_on, runs = threading.Event(), threading.Event(), []

    def double(signature, x):
        started.set()
        go_on.wait(20)
        runs.append(x.tolist())
        if 13 in x:
            raise CppError("INVALID_ARGUMENT", "13")
        return {"y": 2 * x}

    rule = BatchingRule(max_batch_size=4, batch_timeout_micros=0, max_enqueued_batches=3, allowed_batch_sizes=(1, 2, 4))
    batcher = Batcher(double, rule, CppError)
    requests = [[1], [2, 3], [4], [5, 6], [13, 7], [8, 9, 10, 11], [12], [1, 2, 3, 4, 5]]
    threads, answers = answers_of(batcher, requests)
    threads[0].start()
    started.wait(20)
    for thread in threads[1:]:  # one after the other, while the first is being run
        before = batcher.waiting
        thread.start()
        while thread.is_alive() and batcher.waiting == before:
            time.sleep(0.001)
    go_on.set()
    for thread in threads:
        thread.join()
    batcher.close()
    assert runs == [[1], [2, 3, 4, 2], [5, 6, 13, 7], [8, 9, 10, 11]]
    assert batcher.sizes == [1, 3, 4, 4]
    refused = "INVALID_ARGUMENT"
    assert answers == [[2], [4, 6], [8], refused, refused, [16, 18, 20, 22], "UNAVAILABLE", refused]
