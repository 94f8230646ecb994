"""The client over real channels, and the files that a server reads."""

import importlib.resources
import os
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

pytest.importorskip("tensorflow_serving", reason="the extra [serving]")

from google.protobuf import text_format
from tensorflow_serving.apis import prediction_log_pb2
from tensorflow_serving.config import model_server_config_pb2

from tests.export.serving_stub import ServingStub
from tfcontrastive.config import InputError
from tfcontrastive.export import EmbeddingClient, ServingError, check_export, save_model
from tfcontrastive.export.serve_check import _server


@pytest.fixture(scope="module")
def server(exported, cpp):
    stub = ServingStub(exported, cpp)
    yield stub
    stub.close()


@pytest.fixture(params=["grpc", "rest"])
def connect(request, server):
    server.faults.clear()
    server.batches.clear()
    clients = []

    def connect(**options):
        clients.append(
            EmbeddingClient(
                getattr(server, f"{request.param}_address"), protocol=request.param, backoff=0.01, **options
            )
        )
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


@pytest.fixture
def files(images):
    return [tf.io.encode_png(tf.image.convert_image_dtype(image, tf.uint8)).numpy() for image in images]


def test_float_images(encoder, connect, images):
    np.testing.assert_allclose(connect().embed(images), encoder(images), atol=1e-6)


def test_image_files_by_path_and_bytes(exported, connect, files, tmp_path):
    (tmp_path / "a.png").write_bytes(files[0])
    expected = tf.saved_model.load(exported).signatures["image_bytes"](tf.constant(files))["embedding_l2"]
    np.testing.assert_allclose(connect().embed([tmp_path / "a.png", *files[1:]], normalize=True), expected, atol=1e-5)


def test_batches_are_split_by_count_and_by_bytes(encoder, server, connect, images):
    many = np.concatenate([images, images, images])
    np.testing.assert_allclose(connect(batch_size=4).embed(many), encoder(many), atol=1e-6)
    assert server.batches == [4, 4, 1]
    server.batches.clear()
    connect(max_bytes=2 * images[0].nbytes).embed(many)
    assert server.batches == [2, 2, 2, 2, 1]
    server.batches.clear()
    connect(max_bytes=1).embed(images)
    assert server.batches == [1, 1, 1]


def test_passing_faults_are_retried(encoder, server, connect, images):
    server.faults += ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]
    np.testing.assert_allclose(connect().embed(images), encoder(images), atol=1e-6)
    assert not server.faults


def test_retries_end(server, connect, images):
    server.faults += ["UNAVAILABLE"] * 3
    with pytest.raises(ServingError, match="UNAVAILABLE"):
        connect(retries=1).embed(images)
    assert len(server.faults) == 1


def test_lasting_errors_are_not_retried(server, connect):
    with pytest.raises(
        ServingError, match=r"image 0 is refused, since it is not a JPEG, PNG, GIF, BMP or WebP"
    ) as caught:
        connect().embed([b"no image"])
    assert caught.value.code == "INVALID_ARGUMENT"
    assert server.batches == [1]


def test_unknown_models_and_versions(connect, images):
    for options in ({"model": "other"}, {"version": 7}):
        with pytest.raises(ServingError, match="Servable not found") as caught:
            connect(**options).embed(images)
        assert caught.value.code == "NOT_FOUND"
    assert connect(version=1).embed(images).shape == (3, 6)


def test_metadata(connect):
    metadata = connect().metadata()
    assert set(metadata) == {"serving_default", "image_bytes", "features", "serve_training"}
    assert metadata["serving_default"]["inputs"] == {"images": ["float32", [-1, -1, -1, 3]]}
    assert metadata["image_bytes"]["inputs"] == {"image_bytes": ["string", [-1]]}


def test_serve_check_asks_a_server(exported, server, monkeypatch):
    monkeypatch.setattr("tfcontrastive.export.serve_check._CHECKS", {"EmbeddingClient": _server})
    server.faults.clear()
    (check,) = check_export(exported, server=server.grpc_address)
    assert check.passed
    assert check.detail.startswith("version 1 at ")
    (check,) = check_export(exported, server=server.grpc_address, server_model="other")
    assert not check.passed
    assert "Servable not found" in check.detail


def test_a_deadline_ends_a_request(server, connect, images):
    release = threading.Event()

    def occupy():
        with server._lock:
            release.wait(20)

    thread = threading.Thread(target=occupy)
    thread.start()
    try:
        with pytest.raises(ServingError) as caught:
            connect(timeout=0.3).embed(images)
        assert caught.value.code == "DEADLINE_EXCEEDED"
    finally:
        release.set()
        thread.join()


@pytest.mark.parametrize("protocol", ["grpc", "rest"])
def test_nobody_listens(protocol, images):
    start = time.monotonic()
    with (
        pytest.raises(ServingError, match="UNAVAILABLE"),
        EmbeddingClient("127.0.0.1:9", protocol=protocol, retries=1, backoff=0.01) as client,
    ):
        client.embed(images)
    assert time.monotonic() - start < 25, "the deadline was not kept"


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros([2, 4, 4, 3]), r"float32 \[N, H, W, C\]"),
        (np.zeros([4, 4, 3], np.float32), r"\[N, H, W, C\]"),
        (np.zeros([0, 4, 4, 3], np.float32), "N >= 1"),
        ([], "at least one"),
        ([3], "paths or bytes"),
        (["missing.png"], "readable files"),
    ],
)
def test_what_is_no_image_is_refused_here(connect, images, message):
    with pytest.raises(InputError, match=message):
        connect().embed(images)


def test_bad_options():
    with pytest.raises(InputError, match="Did you mean 'grpc'"):
        EmbeddingClient("localhost:1", protocol="grcp")
    with pytest.raises(InputError, match="`batch_size` must be >= 1"):
        EmbeddingClient("localhost:1", batch_size=0)


def warmup_requests(path):
    """(signature, inputs) of each request that a server replays."""
    records = tf.data.TFRecordDataset(os.path.join(path, "assets.extra/tf_serving_warmup_requests"))
    for record in records.as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        yield request.model_spec.signature_name, {k: tf.make_ndarray(value) for k, value in request.inputs.items()}


def test_warmup_requests_run_in_the_server(exported, cpp):
    signatures = [signature for signature, inputs in warmup_requests(exported) if cpp.run(signature, **inputs)]
    assert signatures == ["serving_default", "image_bytes"]


@pytest.mark.parametrize(
    ("channels", "signatures"), [(1, ["serving_default", "image_bytes"]), (5, ["serving_default"])]
)
def test_warmup_requests_of_other_images(make_encoder, tmp_path, channels, signatures):
    path = save_model(make_encoder((None, None, channels)), tmp_path, image_size=16)
    model, found = tf.saved_model.load(path), []
    for signature, inputs in warmup_requests(path):
        model.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        found.append(signature)
    assert found == signatures


def test_the_server_configuration_parses():
    text = (importlib.resources.files("tfcontrastive.export") / "serving" / "models.config").read_text()
    config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
    assert config.model_config_list.config[0].name == "encoder"
