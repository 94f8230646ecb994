"""No answer of a server gives an image another image's vector, and none ends in another error than ServingError."""

import base64
import json
import threading

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

pytest.importorskip("tensorflow_serving", reason="the extra [serving]")

import grpc
from tensorflow_serving.apis import predict_pb2

from tests.export.answers import SERVERS, Reset, grpc_answer, grpc_server, rest_answer, rest_server
from tfcontrastive.config import InputError
from tfcontrastive.export import EmbeddingClient, ServingError

IMAGES = np.arange(10, dtype=np.float32).reshape(10, 1, 1, 1) / 10


def own_vectors(images):
    """For each image a vector that is its pixel."""
    return np.asarray(images, np.float32).reshape(len(images), 1)


def embed(address, protocol, **options):
    with EmbeddingClient(address, protocol=protocol, **{"batch_size": 4, "timeout": 5.0, **options}) as client:
        return client.embed(IMAGES)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_each_image_gets_its_own_vector(protocol):
    server, answer = SERVERS[protocol]
    with server(lambda images: answer(own_vectors(images))) as address:
        np.testing.assert_allclose(embed(address, protocol), own_vectors(IMAGES))


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda rows: rows[:-1], r"must be vectors \[4, 1\]. Received: shape \[3, 1\]"),
        (lambda rows: np.concatenate([rows, rows[:1]]), r"Received: shape \[5, 1\]"),
        (lambda rows: rows[:, 0], r"Received: shape \[4\]"),
        (lambda rows: rows[..., None], r"Received: shape \[4, 1, 1\]"),
        (lambda rows: rows[:, :0], r"Received: shape"),
        (lambda rows: np.concatenate([rows, rows], 1), r"must be vectors \[4, 1\]. Received: shape \[4, 2\]"),
        (lambda rows: np.where(rows == rows[2], np.nan, rows), "NaN or infinity in row 2"),
        (lambda rows: np.where(rows == rows[0], np.inf, rows), "NaN or infinity in row 0"),
        (lambda rows: rows.astype(str), "must hold numbers"),
        (lambda rows: rows > 0, "must hold numbers. Received: values of type bool"),
    ],
    ids=["fewer", "more", "1-D", "3-D", "empty", "longer", "NaN", "infinity", "text", "bool"],
)
def test_a_wrong_answer_is_refused_with_its_batch(protocol, wrong, message):
    server, answer = SERVERS[protocol]
    asked = []

    def second_is_wrong(images):
        asked.append(len(images))
        return answer(wrong(own_vectors(images)) if len(asked) == 2 else own_vectors(images))

    with server(second_is_wrong) as address, pytest.raises(ServingError, match=message) as caught:
        embed(address, protocol)
    assert caught.value.code == "INTERNAL"
    assert "batch 2 (images 4 to 7)" in caught.value.message
    assert asked == [4, 4], "asking again does not help"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ((200, b"<html><body>Please log in"), "INTERNAL"),
        ((200, b""), "INTERNAL"),
        ((200, b"[1, 2]"), "INTERNAL"),
        ((200, b'{"outputs": [[1.0]]}'), "INTERNAL"),
        ((200, b'{"outputs": {"other": [[1.0]]}}'), "INTERNAL"),
        ((200, b'{"outputs": {"embedding": [[1.0], [1.0, 2.0]]}}'), "INTERNAL"),
        ((200, b'{"outputs": {"embedding": [[1e999], [0], [0], [0]]}}'), "INTERNAL"),
        ((200, b"[" * 100_000), "INTERNAL"),
        ((200, b"\xff\xfe"), "INTERNAL"),
        ((302, b"elsewhere"), "HTTP_302"),
        ((413, b"too large"), "HTTP_413"),
        ((404, b'{"error": "no such model"}'), "NOT_FOUND"),
        ((500, b'{"error": {"nested": 1}}'), "INTERNAL"),
    ],
    ids=str,
)
def test_a_lasting_answer_is_an_error_at_once(reply, code):
    asked = []

    def answer(images):
        asked.append(len(images))
        return reply

    with rest_server(answer) as address, pytest.raises(ServingError) as caught:
        embed(address, "rest")
    assert caught.value.code == code
    assert len(asked) == 1
    assert "\n" not in caught.value.message


def test_an_answer_without_the_output_or_without_a_tensor():
    empty = predict_pb2.PredictResponse()
    untyped = predict_pb2.PredictResponse()
    untyped.outputs["embedding"].tensor_shape.dim.add(size=4)
    huge = grpc_answer(np.ones([1, 1], np.float32))  # a tensor whose one value would fill 2^50 of them
    for size, dim in zip((4, 2**50), huge.outputs["embedding"].tensor_shape.dim, strict=True):
        dim.size = size
    for response, message in (
        (empty, "must hold the output 'embedding'"),
        (untyped, "must hold a tensor"),
        (grpc_answer([[1.0]], "other"), "Received: other"),
        (huge, "must fit in a message"),
    ):
        with (
            grpc_server(lambda images, response=response: response) as address,
            pytest.raises(ServingError, match=message),
        ):
            embed(address, "grpc")


ANSWERS = st.one_of(
    st.just("good"),
    st.builds(Reset, st.integers(0, 40)),
    st.tuples(
        st.sampled_from([200, 200, 204, 301, 400, 404, 418, 429, 500, 503, 504]),
        st.one_of(
            st.binary(max_size=40),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.just([[0.5]] * 4),
                lambda inner: (
                    st.lists(inner, max_size=4)
                    | st.dictionaries(st.sampled_from(["outputs", "embedding", "error"]), inner, max_size=2)
                ),
                max_leaves=8,
            ).map(lambda value: json.dumps(value).encode()),
        ),
    ),
)


@hypothesis.settings(max_examples=60, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(st.lists(ANSWERS, min_size=1, max_size=4))
def test_a_hostile_server_gives_the_right_vectors_or_a_serving_error(answers):
    """Each request is answered by the next one; a refused image may be asked for again."""
    lock, left = threading.Lock(), list(answers)

    def answer(images):
        with lock:
            reply = left.pop(0) if left else "good"
        return rest_answer(own_vectors(images)) if isinstance(reply, str) else reply

    with rest_server(answer) as address:
        try:
            received = embed(address, "rest", timeout=2.0, retries=2, backoff=0.001)
        except ServingError:
            return
    # What a server says in the right form cannot be told from the truth: the pixel, or the 0.5 that it makes up.
    good = (received == own_vectors(IMAGES)) | (received == 0.5)
    assert received.shape == (10, 1)
    assert good.all()


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_bad_image_is_named_and_left_out_if_asked(protocol, tmp_path):
    """The server refuses a batch for one image in it, without saying for which."""
    server, answer = SERVERS[protocol]
    bad = {3: "is damaged", 8: "is empty"}

    def content(image):
        return base64.b64decode(image["b64"]) if isinstance(image, dict) else image

    def refuses(images):
        numbers = [int(content(image)) for image in images]
        reasons = [bad[number] for number in numbers if number in bad]
        if reasons and protocol == "rest":
            return 400, json.dumps({"error": f"assertion failed: [`image_bytes` [1] {reasons[0]}]"}).encode()
        return grpc.StatusCode.INVALID_ARGUMENT if reasons else answer(np.float32(numbers)[:, None])

    files = [str(number).encode() for number in range(10)]
    with server(refuses) as address, EmbeddingClient(address, protocol=protocol, batch_size=4) as client:
        reason = "is damaged" if protocol == "rest" else "as the test wants"
        with pytest.raises(ServingError, match=f"INVALID_ARGUMENT: image 3 is refused, since it {reason}"):
            client.embed(files)
        files[5] = tmp_path / "gone.png"
        vectors, reasons = client.embed_readable(files)
        with pytest.raises(InputError, match=r"gone.png.*No such file"):
            client.embed(files)
        nothing, all_bad = client.embed_readable([b"3", b"8"])
    assert list(reasons) == [3, 5, 8]
    assert reason in reasons[3]
    assert "No such file" in reasons[5]
    np.testing.assert_array_equal(np.isnan(vectors[:, 0]), [i in reasons for i in range(10)])
    np.testing.assert_array_equal(vectors[[0, 1, 2, 4, 6, 7, 9], 0], [0, 1, 2, 4, 6, 7, 9])
    assert nothing.shape == (2, 0)
    assert list(all_bad) == [0, 1]


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_pixels_that_are_not_finite_are_named_before_they_are_sent(protocol):
    images = IMAGES.copy()
    images[5] = np.nan
    server, answer = SERVERS[protocol]
    with (
        server(lambda sent: answer(own_vectors(sent))) as address,
        EmbeddingClient(address, protocol=protocol, batch_size=4) as client,
    ):
        with pytest.raises(InputError, match="NaN or infinity in image 5"):
            client.embed(images)
        vectors, bad = client.embed_readable(images)
    assert list(bad) == [5]
    np.testing.assert_array_equal(np.isnan(vectors[:, 0]), np.arange(10) == 5)
