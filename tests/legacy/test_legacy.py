"""The artefact in its oldest consumer, and that consumer's image operations as an oracle for ours."""

import json

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.augment import jitter, ops
from tfcontrastive.encoders import ResNet
from tfcontrastive.export import save_model

pytestmark = pytest.mark.legacy


@pytest.fixture(scope="module")
def encoder():
    encoder = ResNet(depth=18, width_multiplier=0.125, stem="small")
    encoder(np.random.RandomState(1).rand(8, 16, 16, 3).astype("float32"), training=True)
    return encoder


@pytest.fixture(scope="module")
def folder(encoder, legacy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("legacy")
    images = np.random.RandomState(0).rand(6, 16, 16, 3).astype("float32")
    np.save(folder / "images.npy", images)
    pixels = tf.image.convert_image_dtype(tf.image.resize(images[0], [40, 50]), tf.uint8)
    (folder / "image.jpg").write_bytes(tf.io.encode_jpeg(pixels).numpy())
    (folder / "path").write_text(save_model(encoder, folder / "exported", image_size=16))
    legacy("consumer.py", folder)
    return folder


def test_embeds_equally(encoder, folder):
    embedded = np.load(folder / "embedded.npz")
    expected = encoder(np.load(folder / "images.npy"))
    np.testing.assert_allclose(embedded["call"], expected, atol=1e-5)
    np.testing.assert_allclose(embedded["signature"], expected, atol=1e-5)
    serve = tf.saved_model.load((folder / "path").read_text())
    ours = serve.signatures["image_bytes"](tf.constant([(folder / "image.jpg").read_bytes()]))["embedding"]
    np.testing.assert_allclose(embedded["files"], ours, atol=1e-5)


def test_fine_tunes_with_lamb(folder):
    report = json.loads((folder / "report.json").read_text())
    assert report["tensorflow"].startswith("2.15")
    assert all(report["tuned"]["changed"])
    assert report["tuned"]["last_loss"] < report["tuned"]["first_loss"]
    assert not any(report["frozen"]["changed"])


@pytest.fixture(scope="module")
def oracle(legacy, tmp_path_factory):
    folder = tmp_path_factory.mktemp("oracle")
    given = {
        "images": np.random.RandomState(2).rand(4, 20, 24, 3).astype("float32"),
        "sigmas": np.array([0.1, 0.7, 1.3, 2.0]),
        "colors": np.array([[0, 1, 1], [0.1, 1, 1], [-0.2, 1, 1], [0, 0.3, 1], [0, 1.8, 0.5], [0.05, 1.4, 1.2]]),
        "angles": np.array([0.0, 0.4, -1.2, 2.9], np.float32),
        "centers": np.array([[0, 0], [10, 12], [19, 23], [5, 20]], np.int32),
        "sizes": np.array([[6, 6], [4, 10], [30, 2]]),
    }
    np.savez(folder / "given.npz", **given)
    legacy("oracle.py", folder)
    return given, np.load(folder / "results.npz")


def test_blur(oracle):
    given, results = oracle
    for i, sigma in enumerate(given["sigmas"]):
        ours = ops.gaussian_blur(tf.constant(given["images"]), tf.fill([4], tf.cast(sigma, tf.float32)), kernel_size=7)
        np.testing.assert_allclose(ours, results[f"blur{i}"], atol=1e-4, err_msg=f"sigma {sigma}")


# tensorflow-addons' YIQ has three digits, ours four: with its constants ours must agree, with our own nearly.
THEIR_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])


@pytest.mark.parametrize(("yiq", "tolerance"), [(THEIR_YIQ, 1e-4), (None, 5e-3)], ids=["their-yiq", "our-yiq"])
def test_color_matrix(oracle, monkeypatch, yiq, tolerance):
    given, results = oracle
    if yiq is not None:
        monkeypatch.setattr(jitter, "_YIQ", yiq)
    for i, (turns, saturation, value) in enumerate(given["colors"].astype("float32")):
        # Theirs turns the other way.
        matrix = jitter._color_matrix(tf.constant([value]), tf.constant([saturation]), tf.constant([-turns]))[0]
        ours = given["images"] @ matrix.numpy()
        np.testing.assert_allclose(ours, results[f"color{i}"], atol=tolerance, err_msg=f"{turns} {saturation} {value}")


def test_rotate(oracle):
    given, results = oracle
    ours = ops.rotate(tf.constant(given["images"]), tf.constant(given["angles"]))
    np.testing.assert_allclose(ours, results["rotate"], atol=1e-4)


def test_cutout(oracle):
    given, results = oracle
    for i, (height, width) in enumerate(given["sizes"].tolist()):
        ours = ops.cutout(tf.constant(given["images"]), tf.constant(given["centers"]), (height, width))
        np.testing.assert_array_equal(ours, results[f"cutout{i}"], err_msg=f"{height} x {width}")
