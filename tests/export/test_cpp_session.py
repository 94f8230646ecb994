"""The C++ loader behind TensorFlow Serving, in a process that never imports tensorflow."""

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.export import CppError, CppSession


@pytest.fixture
def files(images):
    pixels = tf.image.convert_image_dtype(images, tf.uint8)
    return [tf.io.encode_jpeg(pixels[0]).numpy(), tf.io.encode_png(pixels[1]).numpy()]


def test_every_signature_equals_python(exported, cpp, images, files):
    loaded = tf.saved_model.load(exported)
    for signature in ("image_bytes", "serve_training", "serving_default", "features"):
        inputs = {"image_bytes": files} if signature == "image_bytes" else {"images": images}
        expected = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        outputs = cpp.run(signature, **inputs)
        assert set(outputs) == set(expected)
        for name, value in expected.items():
            np.testing.assert_allclose(outputs[name], value, atol=1e-5, err_msg=f"{signature} {name}")


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros([0, 16, 16, 3], np.float32), r"any, 3\].*Received: \[0 16 16 3\]"),
        (np.zeros([16, 16, 3], np.float32), r"Received: \[16 16 3\]"),
        (np.zeros([1, 16, 16, 3, 3], np.float32), r"Received: \[1 16 16 3 3\]"),
        (np.zeros([1, 16, 16, 4], np.float32), r"Received: \[1 16 16 4\]"),
        (np.zeros([1, 0, 16, 3], np.float32), r"Received: \[1 0 16 3\]"),
        (np.zeros([1, 16, 16, 3]), "to be float but double is provided"),
        (np.full([1, 16, 16, 3], np.nan, np.float32), r"finite pixels in \[0, 1\]"),
        (np.full([1, 16, 16, 3], np.inf, np.float32), r"finite pixels in \[0, 1\]"),
        (np.full([1, 16, 16, 3], 255, np.float32), "divide 8-bit pixels by 255"),
    ],
    ids=["empty", "rank", "rank-5", "channels", "no-height", "dtype", "nan", "infinity", "8-bit"],
)
@pytest.mark.parametrize("signature", ["serving_default", "features"])
def test_bad_images_are_named(cpp, signature, images, message):
    with pytest.raises(CppError, match=message) as caught:
        cpp.run(signature, images=images)
    assert caught.value.code == "INVALID_ARGUMENT"


@pytest.mark.parametrize("contents", [np.array([], object), b"one", [[b"two"]]], ids=["empty", "rank-0", "rank-2"])
def test_bad_shapes_of_image_bytes_are_named(cpp, contents):
    with pytest.raises(CppError, match=r"`image_bytes` must have the shape \[any\]") as caught:
        cpp.run("image_bytes", image_bytes=contents)
    assert caught.value.code == "INVALID_ARGUMENT"


def test_wrong_names_are_errors(cpp, images):
    with pytest.raises(CppError, match="NOT_FOUND: no signature 'embed'"):
        cpp.run("embed", images=images)
    with pytest.raises(CppError, match=r"inputs are \['images'\]"):
        cpp.run("serving_default", pixels=images)


def test_a_directory_without_a_model(tmp_path):
    with pytest.raises(CppError, match="NOT_FOUND"):
        CppSession(tmp_path)


def test_a_worker_that_dies_is_named(exported, images):
    with CppSession(exported) as session:
        session._worker.kill()
        for _ in range(2):
            with pytest.raises(CppError, match="ABORTED: the worker ended with code -9"):
                session.run("serving_default", images=images)
