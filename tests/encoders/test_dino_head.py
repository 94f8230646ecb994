"""DINO's head and its last layer: the authors' values, and what the gains and the freezing do."""

import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import DINOHead, WeightNormDense

VALUES = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "method_values.json").read_text())["dino"]
Z0 = np.sin(np.arange(12.0)).reshape(4, 3)


def test_the_outputs_are_the_authors():
    head, last = DINOHead(4, 2, dtype="float64"), WeightNormDense(5, dtype="float64")
    head.build((None, 3))
    last.build((None, 2))
    number = 0
    for dense in head.parts:
        width, units = dense.kernel.shape
        dense.kernel.assign(np.sin(np.arange(width * units) + number).reshape(units, width).T)
        dense.bias.assign(np.sin(np.arange(units) + number + 1))
        number += 2
    last.kernel.assign(np.cos(np.arange(10.0)).reshape(5, 2).T)
    np.testing.assert_allclose(last(head(Z0)), VALUES["head"], rtol=1e-7)  # TensorFlow's GELU has a rounded constant


def test_the_length_of_a_direction_does_not_matter_but_its_gain():
    layer = WeightNormDense(4, train_gain=True)
    before = layer(Z0.astype(np.float32))
    assert [weight.name for weight in layer.trainable_variables] == ["kernel", "gain"]
    layer.kernel.assign(3 * layer.kernel)
    np.testing.assert_allclose(layer(Z0.astype(np.float32)), before, rtol=1e-5)
    layer.gain.assign(2 * layer.gain)
    np.testing.assert_allclose(layer(Z0.astype(np.float32)), 2 * before, rtol=1e-5)


@pytest.mark.parametrize("frozen", [True, tf.constant(True)])
def test_a_frozen_layer_has_no_gradient_and_its_input_has(frozen):
    layer, x = WeightNormDense(4), tf.constant(Z0, tf.float32)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = layer(x, frozen=frozen)
    gradient = tape.gradient(y, layer.kernel)
    assert gradient is None or not np.any(gradient)
    assert np.all(np.any(tape.gradient(y, x), axis=1))


@pytest.mark.parametrize("make", [lambda: DINOHead(6, 5, 2), lambda: WeightNormDense(5, train_gain=True)])
def test_they_are_made_again_from_their_config(make):
    layer = make()
    copy = type(layer).from_config(layer.get_config())
    assert copy.get_config() == layer.get_config()
    assert copy.compute_output_shape((None, 3)) == (None, 5)
    assert keras.saving.get_registered_object(f"tfcontrastive>{type(layer).__name__}") is type(layer)


def test_numbers_below_one_are_refused():
    with pytest.raises(InputError, match=r"`bottleneck_dim` must be >= 1. Received: bottleneck_dim=0"):
        DINOHead(bottleneck_dim=0)
    with pytest.raises(InputError, match=r"`units` must be >= 1. Received: units=0"):
        WeightNormDense(0)
