import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.augment import ops
from tfcontrastive.config import InputError


def slow_blur(image: np.ndarray, sigma: float, kernel_size: int) -> np.ndarray:
    """One image, one tap at a time, zero beyond the border."""
    radius = kernel_size // 2
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    for axis in (0, 1):
        length = image.shape[axis]
        padding = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
        padded = np.pad(image, padding)
        image = sum(w * np.take(padded, np.arange(length) + i, axis) for i, w in enumerate(kernel))
    return image


def test_kernel_computed_by_hand():
    # sigma 1, 3 taps: exp(-1/2) = 0.60653, so the taps are 0.60653 / 2.21306 = 0.27407, 0.45186, 0.27407.
    impulse = tf.reshape(tf.one_hot(12, 25), [1, 5, 5, 1])
    out = ops.gaussian_blur(impulse, tf.constant([1.0]), kernel_size=3)[0, :, :, 0]
    taps = np.array([0.0, 0.27406862, 0.45186276, 0.27406862, 0.0])
    np.testing.assert_allclose(out, np.outer(taps, taps), atol=1e-7)


def test_border_counts_as_zero():
    # A corner of a white image keeps (0.45186 + 0.27407)^2.
    out = ops.gaussian_blur(tf.ones([1, 5, 5, 1]), tf.constant([1.0]), kernel_size=3)[0, :, :, 0]
    np.testing.assert_allclose([out[0, 0], out[0, 2], out[2, 2]], [0.7259314**2, 0.7259314, 1.0], atol=1e-6)


def test_an_even_kernel_is_taken_one_larger():
    image, sigma = tf.random.stateless_uniform([1, 6, 6, 2], seed=[0, 1]), tf.constant([1.3])
    np.testing.assert_array_equal(ops.gaussian_blur(image, sigma, 2), ops.gaussian_blur(image, sigma, 3))


@pytest.mark.parametrize(("height", "width", "kernel_size"), [(9, 14, 3), (32, 32, 3), (70, 100, 23), (8, 8, 31)])
def test_each_image_has_its_own_sigma(height, width, kernel_size):
    images = tf.random.stateless_uniform([3, height, width, 2], seed=[2, 3])
    sigmas = [0.1, 0.7, 2.0]
    expected = [slow_blur(image, sigma, kernel_size) for image, sigma in zip(images.numpy(), sigmas, strict=True)]
    np.testing.assert_allclose(ops.gaussian_blur(images, tf.constant(sigmas), kernel_size), expected, atol=1e-6)


def test_sigma_zero_changes_nothing():
    images = tf.random.stateless_uniform([1, 70, 40, 3], seed=[4, 5])
    np.testing.assert_array_equal(ops.gaussian_blur(images, tf.constant([0.0]), 7), images)


def test_batch_size_may_be_dynamic():
    blur = tf.function(
        lambda x: ops.gaussian_blur(x, tf.fill([tf.shape(x)[0]], 1.0), 5),
        input_signature=[tf.TensorSpec([None, 40, 40, 1])],
    )
    assert blur(tf.ones([3, 40, 40, 1])).shape == (3, 40, 40, 1)


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match=r"`kernel_size` must be >= 1\. Received: kernel_size=0\."):
        ops.gaussian_blur(tf.ones([1, 8, 8, 3]), tf.constant([1.0]), 0)
    blur = tf.function(lambda x: ops.gaussian_blur(x, tf.constant([1.0]), 3), autograph=False)
    with pytest.raises(InputError, match="static H, W and C"):
        blur.get_concrete_function(tf.TensorSpec([1, None, 8, 3]))
