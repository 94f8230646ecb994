"""Encoders by name map [B, H, W, C] to [B, F]; what cannot be made says why."""

import importlib
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.data.preprocessing import PREPROCESSING
from tfcontrastive.encoders import ResNet, encoder_from_name
from tfcontrastive.encoders.by_name import _FAMILIES


def test_own_networks_take_their_options():
    encoder = encoder_from_name("resnet34", (16, 16, 1), width_multiplier=0.125)
    assert isinstance(encoder, ResNet)
    assert encoder.get_config()["depth"] == 34
    assert encoder(np.zeros((2, 16, 16, 1), np.float32)).shape == (2, 64)


def test_keras_applications():
    encoder = encoder_from_name("keras.applications/MobileNetV2", (32, 32, 3), alpha=0.35)
    assert encoder(np.zeros((2, 32, 32, 3), np.float32)).shape == (2, 1280)


@pytest.mark.parametrize("network", ["MobileNetV3Small", "EfficientNetB0"])
def test_applications_see_the_range_that_they_expect(network):
    """Images are in [0, 1] here; a network that rescales 0..255 by itself must not see a range 255 times too small."""
    encoder = encoder_from_name(f"keras.applications/{network}", (32, 32, 3))
    scale = 1.0
    for layer in encoder._flatten_layers():
        if isinstance(layer, keras.layers.Rescaling):
            scale *= layer.scale
    assert scale == pytest.approx(1.0)


@pytest.mark.parametrize(("module", "family"), _FAMILIES.items())
def test_families_of_applications_are_what_keras_itself_does(module, family):
    images = np.random.default_rng(0).random((2, 3, 3, 3), dtype=np.float32)
    expected = importlib.import_module(f"keras.applications.{module}").preprocess_input(255 * images.copy())
    np.testing.assert_allclose(PREPROCESSING[family].normalize(tf.constant(images)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("network", "options"), [("MobileNetV2", {"alpha": 0.35}), ("MobileNetV3Small", {"minimalistic": True})]
)
def test_applications_with_weights_see_what_keras_own_would(network, options, tmp_path):
    theirs = getattr(keras.applications, network)(
        weights=None, include_top=False, pooling="avg", input_shape=(32, 32, 3), **options
    )
    draw = np.random.default_rng(0)
    for weight in theirs.weights:  # as if trained: random statistics of batch norm too
        one = len(weight.shape) == 1
        weight.assign(draw.uniform(0.5, 1.5, weight.shape) if one else 0.1 * draw.normal(size=weight.shape))
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    encoder = encoder_from_name(
        f"keras.applications/{network}", (32, 32, 3), weights=str(tmp_path / "theirs.weights.h5"), **options
    )
    images = draw.random((2, 32, 32, 3), dtype=np.float32)
    preprocess = sys.modules[getattr(keras.applications, network).__module__].preprocess_input
    expected = np.asarray(theirs(preprocess(255 * images.copy())))
    np.testing.assert_allclose(encoder(images), expected, atol=1e-4 * np.abs(expected).max())


def test_own_networks_take_weights(tmp_path):
    trained = ResNet(18, width_multiplier=0.0625, input_shape=(8, 8, 3))
    trained.save_weights(tmp_path / "own.weights.h5")
    encoder = encoder_from_name(
        "resnet18", (8, 8, 3), width_multiplier=0.0625, weights=str(tmp_path / "own.weights.h5")
    )
    for ours, theirs in zip(encoder.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_that_are_not_the_networks_are_told(tmp_path):
    ResNet(18, width_multiplier=0.0625, input_shape=(8, 8, 3)).save_weights(tmp_path / "own.weights.h5")
    for file, message in (("none.h5", "must be a file"), ("own.weights.h5", "file of resnet's weights")):
        with pytest.raises(InputError, match=message) as error:
            encoder_from_name("resnet18", (8, 8, 3), weights=str(tmp_path / file))
        assert "\n" not in str(error.value)


def test_keras_hub_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match="needs keras-hub: pip install keras-hub"):
        encoder_from_name("keras_hub/some_preset")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet51", "Did you mean 'resnet50'"),
        ("keras.applications/MobileNetV", "Did you mean 'MobileNetV2'"),
        ("other/resnet50", "must be one of"),
        ("keras.applications/InceptionV3", "does not take input_shape"),
    ],
)
def test_bad_names_are_told(name, message):
    with pytest.raises(InputError, match=message):
        encoder_from_name(name, (32, 32, 3))


def test_unknown_option_is_told():
    with pytest.raises(InputError, match="depht"):
        encoder_from_name("resnet50", depht=3)
