"""FixedPaddingConv2D is a padded convolution, and its two ways to the kernel's gradient agree."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.encoders import conv
from tfcontrastive.encoders.conv import FixedPaddingConv2D

# height, width, kernel size, stride
CASES = [(8, 8, 3, 1), (8, 8, 3, 2), (7, 9, 3, 2), (7, 7, 7, 2), (6, 5, 5, 3), (4, 4, 2, 2), (5, 6, 1, 2)]


def images(height, width, channels=3):
    rng = np.random.default_rng(0)
    return tf.constant(rng.normal(size=(2, height, width, channels)), tf.float32)


def run(layer, x):
    """Output, and gradients to the images and to the kernel."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x)
        weights = tf.reshape(tf.cos(tf.range(tf.cast(tf.size(y), tf.float32))), tf.shape(y))
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * weights)
    return [y, *tape.gradient(loss, [x, layer.kernel.value])]


@pytest.mark.parametrize(("height", "width", "size", "stride"), CASES)
def test_equals_valid_convolution_of_the_padded_image(height, width, size, stride):
    layer = FixedPaddingConv2D(4, size, stride)
    y = layer(images(height, width))
    before, after = (size - 1) // 2, size // 2
    padded = tf.pad(images(height, width), [[0, 0], [before, after], [before, after], [0, 0]])
    expected = keras.ops.conv(padded, layer.kernel, stride, "valid")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)
    assert layer.compute_output_shape((2, height, width, 3)) == tuple(y.shape)
    assert layer.compute_output_shape((None, None, width, 3))[:2] == (None, None)


@pytest.mark.parametrize(("height", "width", "size", "stride"), CASES)
def test_gradient_by_products_is_the_gradient(height, width, size, stride, monkeypatch):
    layer = FixedPaddingConv2D(4, size, stride)
    expected = run(layer, images(height, width))
    monkeypatch.setattr(conv, "_products_are_faster", lambda *_: True)
    for got, wanted in zip(tf.function(run)(layer, images(height, width)), expected, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_small_maps_in_bfloat16_take_the_products():
    layer, reference = FixedPaddingConv2D(4, 3, dtype="mixed_bfloat16"), FixedPaddingConv2D(4, 3)
    small = images(4, 4)
    layer(small)
    reference(small)
    reference.kernel.assign(layer.kernel)
    graph = tf.function(run).get_concrete_function(layer, small).graph
    assert [operation.type for operation in graph.get_operations()].count("MatMul") == 9
    for got, wanted in zip(run(layer, small), run(reference, small), strict=True):
        np.testing.assert_allclose(tf.cast(got, tf.float32), wanted, atol=0.02 * np.abs(wanted).max())


def test_sizes_unknown_and_large_maps_leave_it_to_the_convolution():
    layer = FixedPaddingConv2D(4, 3, dtype="mixed_bfloat16")
    for shape in ((None, None, None, 3), (2, 9, 9, 3)):
        graph = tf.function(run).get_concrete_function(layer, tf.TensorSpec(shape)).graph
        assert "MatMul" not in {operation.type for operation in graph.get_operations()}


def test_saves_and_loads(tmp_path):
    inputs = keras.Input((8, 8, 3))
    model = keras.Model(inputs, FixedPaddingConv2D(4, 3, 2, use_bias=False, name="conv")(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(images(8, 8)), model(images(8, 8)))
