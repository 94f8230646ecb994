"""Supervised baselines of keras.applications give the features and logits that they give in Keras."""

import h5py
import keras
import numpy as np
import pytest

from tfcontrastive.config import InputError
from tfcontrastive.pretrained import load


def write_hdf5(path, model):
    """As Keras 2 does: layers and weights by name, in attributes that keep their order."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name.encode() for layer in model.layers]
        for layer in model.layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}:0" for weight in layer.weights]
            group.attrs["weight_names"] = [name.encode() for name in names]
            for name, weight in zip(names, layer.weights, strict=True):
                group.create_dataset(name, data=np.asarray(weight))
    return path


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    return keras.applications.MobileNetV2(weights=None, classifier_activation=None)


@pytest.mark.parametrize("place", ["file", "name"])
def test_features_and_logits_are_those_of_keras(place, model, tmp_path, monkeypatch):
    """By name, Keras downloads the weights itself; here it is handed the network."""
    if place == "file":
        pretrained = load(write_hdf5(tmp_path / "mobilenet.h5", model))
    else:
        made = keras.applications.MobileNetV2
        monkeypatch.setattr(
            keras.applications,
            "MobileNetV2",
            lambda weights, **options: model if weights else made(weights=None, **options),
        )
        pretrained = load("keras.applications/MobileNetV2")
    images = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)
    inputs = keras.applications.mobilenet_v2.preprocess_input(images * 255)
    expected = keras.Model(model.inputs, model.get_layer("predictions").input)
    features = pretrained.on_pixels()(images)
    reference = keras.applications.MobileNetV2(weights=None, include_top=False, pooling="avg", input_shape=(64, 64, 3))
    for mine, theirs in zip(reference.weights, expected.weights, strict=True):
        mine.assign(theirs)
    np.testing.assert_allclose(features, reference(inputs), rtol=1e-3, atol=1e-5)
    logits = model.get_layer("predictions")(reference(inputs))
    np.testing.assert_allclose(pretrained.supervised_head(features), logits, rtol=1e-3, atol=1e-5)
    assert pretrained.report.skipped == {}


def test_a_network_of_another_kind_is_refused(tmp_path):
    other = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3, name="a")])
    with pytest.raises(InputError, match="has 27 parameters below its classifier"):
        load(write_hdf5(tmp_path / "other.h5", other))
