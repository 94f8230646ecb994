"""Encoders by name map [B, H, W, C] to [B, F]; what cannot be made says why."""

import sys
import types

import keras
import numpy as np
import pytest

from tfcontrastive.config import InputError
from tfcontrastive.encoders import ResNet, encoder_from_name


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


def stub_hub(output):
    def from_preset(preset, load_weights, image_shape):
        assert (preset, load_weights) == ("some_preset", False)
        images = keras.Input(image_shape)
        return keras.Model(images, output(images))

    models = types.SimpleNamespace(Backbone=types.SimpleNamespace(from_preset=from_preset))
    return types.SimpleNamespace(models=models)


@pytest.mark.parametrize(
    "output",
    [
        keras.layers.Conv2D(6, 3),
        lambda images: keras.layers.Reshape((-1, 6))(keras.layers.Conv2D(6, 3)(images)),
        lambda images: keras.layers.Dense(6)(keras.layers.Flatten()(images)),
    ],
    ids=["map", "tokens", "vector"],
)
def test_keras_hub_backbones_give_one_vector(output, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", stub_hub(output))
    encoder = encoder_from_name("keras_hub/some_preset", (8, 8, 3))
    assert encoder(np.zeros((2, 8, 8, 3), np.float32)).shape == (2, 6)


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
