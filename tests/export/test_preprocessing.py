"""Training, evaluation, export and serving see the same pixels of the same file, by each family's rule."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.augment import Geometry
from tfcontrastive.config import EncoderConfig
from tfcontrastive.data import PREPROCESSING, Preprocessing
from tfcontrastive.export import decode_images, read_card, save_model
from tfcontrastive.pretrained.trained import load_trained


@pytest.fixture(params=["jpg", "png"])
def folder(request, tmp_path):
    x, y = np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1, 50))
    pixels = (np.stack([x, y, x * y], axis=-1) * 255).astype("uint8")
    encoded = tf.io.encode_jpeg(pixels) if request.param == "jpg" else tf.io.encode_png(pixels)
    for i in range(2):
        (tmp_path / f"{i}.{request.param}").write_bytes(encoded.numpy())
    return tmp_path


@pytest.mark.parametrize("size", [24, 48])
def test_evaluation_equals_serving(folder, size):
    source = data.load(f"folder:{folder}")
    batch = next(iter(data.eval_batches(source, "train", batch_size=1, image_size=size)))
    contents = [sorted(folder.iterdir())[0].read_bytes()]
    np.testing.assert_array_equal(decode_images(tf.constant(contents), size=size), batch["image"])


@pytest.mark.parametrize("name", PREPROCESSING)
def test_each_rule_is_the_same_in_evaluation_and_serving(folder, name):
    rule = PREPROCESSING[name]
    source = data.load(f"folder:{folder}")
    batch = next(iter(data.eval_batches(source, "train", batch_size=1, image_size=36, preprocessing=rule)))
    contents = [sorted(folder.iterdir())[0].read_bytes()]
    served = decode_images(tf.constant(contents), size=36, preprocessing=rule)
    np.testing.assert_array_equal(served, batch["image"])


def test_crop_and_resize_are_those_of_the_rule():
    image = tf.random.stateless_uniform([100, 80, 3], (1, 2))
    rule = Preprocessing(crop=0.5, resize="antialiased bilinear")
    middle = image[30:70, 20:60]
    expected = tf.image.resize(middle, [36, 36], "bilinear", antialias=True)
    np.testing.assert_allclose(rule.crop_and_resize(image, 36), expected, atol=1e-6)


@pytest.mark.parametrize("mode", ["caffe", "tf", "torch"])
def test_normalisation_is_that_of_keras(mode):
    """keras.applications takes pixels up to 255; ours lie in [0, 1]."""
    name = {"caffe": "caffe", "tf": "symmetric", "torch": "imagenet"}[mode]
    pixels = np.random.default_rng(0).random((2, 4, 4, 3), dtype=np.float32)
    expected = keras.applications.imagenet_utils.preprocess_input(pixels * 255, mode=mode)
    np.testing.assert_allclose(PREPROCESSING[name].normalize(tf.constant(pixels)), expected, atol=1e-4)


def test_evaluation_export_and_serving_agree_on_a_normalised_network(folder, make_encoder, tmp_path):
    rule = PREPROCESSING["imagenet"]
    bare = make_encoder()
    encoder = rule.on_pixels(bare)
    path = save_model(encoder, tmp_path / "exported", image_size=36, preprocessing=rule)
    assert read_card(path)["preprocessing"]["resize"] == "antialiased bilinear"
    loaded = load_trained(saved_model=path)
    assert loaded.preprocessing == rule
    source = data.load(f"folder:{folder}")
    batch = next(
        iter(data.eval_batches(source, "train", batch_size=1, image_size=36, preprocessing=loaded.preprocessing))
    )
    expected = bare(rule.normalize(batch["image"]))
    np.testing.assert_allclose(loaded(batch["image"]), expected, rtol=1e-5, atol=1e-6)
    served = tf.saved_model.load(path)
    contents = tf.constant([sorted(folder.iterdir())[0].read_bytes()])
    np.testing.assert_allclose(served.signatures["image_bytes"](contents)["embedding"], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        served.signatures["serving_default"](batch["image"])["embedding"], expected, rtol=1e-5, atol=1e-6
    )
    assert "initial_conv" in served.signatures["features"].structured_outputs


def test_the_names_of_the_rules_are_the_flag_s_choices():
    field = EncoderConfig.__dataclass_fields__["preprocessing"]
    assert set(field.metadata["choices"]) == set(PREPROCESSING)


def test_training_equals_serving_when_nothing_is_cropped(folder):
    whole = Geometry(min_area=1.0, max_area=1.0, min_ratio=1.0, max_ratio=1.0, flip=0.0)
    source = data.load(f"folder:{folder}")
    batch = next(iter(data.train_batches(source, "train", batch_size=1, image_size=24, geometry=whole, seed=0)))
    contents = [sorted(folder.iterdir())[0].read_bytes()]
    for view in batch["views"]:
        np.testing.assert_allclose(view, decode_images(tf.constant(contents), size=24), atol=1e-6)
