import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.augment import ops


@pytest.fixture(scope="module")
def images() -> tf.Tensor:
    return tf.random.stateless_uniform([4, 6, 5, 3], seed=[1, 2])


def each(op, images, parameters) -> np.ndarray:
    """TensorFlow's own op, one image at a time."""
    return np.stack([op(image, parameter) for image, parameter in zip(images, parameters, strict=True)])


def test_brightness_multiplies_or_adds(images):
    amount = [0.0, 0.5, 1.0, 1.8]
    factors = np.reshape(amount, [4, 1, 1, 1])
    np.testing.assert_allclose(ops.brightness(images, tf.constant(amount)), images * factors, rtol=1e-6)
    added = ops.brightness(images, tf.constant(amount), additive=True)
    np.testing.assert_allclose(added, images + factors, rtol=1e-6)


def test_contrast_is_tensorflows(images):
    factors = [0.0, 0.3, 1.0, 1.8]
    expected = each(tf.image.adjust_contrast, images, factors)
    np.testing.assert_allclose(ops.contrast(images, tf.constant(factors)), expected, atol=1e-6)


def test_saturation_is_tensorflows(images):
    factors = [0.0, 0.3, 1.0, 1.8]
    expected = each(tf.image.adjust_saturation, images, factors)
    np.testing.assert_allclose(ops.saturation(images, tf.constant(factors)), expected, atol=1e-6)


def test_hue_is_tensorflows(images):
    deltas = [-0.5, -0.1, 0.0, 0.3]
    np.testing.assert_allclose(
        ops.hue(images, tf.constant(deltas)), each(tf.image.adjust_hue, images, deltas), atol=1e-5
    )


def test_grayscale_replaces_the_chosen_images_only(images):
    out = ops.grayscale(images, tf.constant([True, False, True, False]))
    luma = np.asarray(images) @ [0.2989, 0.587, 0.114]
    np.testing.assert_allclose(out[0], np.repeat(luma[0][..., None], 3, -1), atol=1e-6)
    np.testing.assert_array_equal(out[1], images[1])


def test_solarize_inverts_from_the_threshold_up():
    images = tf.tile(tf.reshape([0.0, 0.4, 0.5, 0.9, 1.0], [1, 1, 5, 1]), [2, 1, 1, 1])
    out = ops.solarize(images, tf.constant([True, False]))
    np.testing.assert_allclose(tf.reshape(out[0], [-1]), [0.0, 0.4, 0.5, 0.1, 0.0], atol=1e-7)
    np.testing.assert_array_equal(out[1], images[1])
