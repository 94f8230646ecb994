"""Gaussian blur with one sigma per image."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from tfcontrastive.augment import separable
from tfcontrastive.augment.checks import float_images, static_image_shape
from tfcontrastive.config import InputError


def gaussian_blur(images: tf.Tensor, sigma: tf.Tensor, kernel_size: int) -> tf.Tensor:
    """Blurs each image with its own Gaussian.

    `out = K(sigma_b) * image`, `K(d) = exp(-d^2 / (2 sigma^2)) / sum`, for `|d| <= kernel_size // 2` along each axis.
    An even kernel size is taken one larger. Beyond the border the image counts as zero, as in google-research/simclr
    (a SAME convolution), so the border darkens; Pillow repeats its last pixels. `sigma = 0` leaves an image exactly as
    it is.

    Args:
        images: float `[B, H, W, C]`, static H, W and C.
        sigma: float `[B]`, standard deviation in pixels, >= 0.
        kernel_size: taps along each axis, >= 1; SimCLR uses a tenth of the height.

    Returns:
        float32 `[B, H, W, C]`.

    Raises:
        InputError: if `kernel_size` < 1 or the image shape is not static.

    Examples:
        >>> gaussian_blur(tf.ones([2, 8, 8, 3]), tf.constant([0.0, 1.0]), kernel_size=3).shape
        TensorShape([2, 8, 8, 3])

    Source: SimCLR, arXiv 2002.05709, appendix A.
    """
    if kernel_size < 1:
        raise InputError(f"`kernel_size` must be >= 1. Received: kernel_size={kernel_size}.")
    images = float_images(images)
    height, width, _ = static_image_shape(images)
    radius = kernel_size // 2
    sigma = tf.cast(sigma, tf.float32)
    rows = _gaussian_bands(sigma, height, radius)
    columns = rows if width == height else _gaussian_bands(sigma, width, radius)
    return separable.apply(images, rows, columns)


def _gaussian_bands(sigma: tf.Tensor, length: int, radius: int) -> separable.Bands:
    count, block = separable.blocks(length)
    window = min(length, block + 2 * radius)
    starts = np.clip(np.arange(count) * block - radius, 0, length - window)
    taps = starts[:, None, None] + np.arange(window)
    distance = taps - np.arange(count * block).reshape(count, block, 1)
    kernel = _gaussian(sigma, np.arange(-radius, radius + 1))
    weights = _gaussian(sigma, distance) / tf.reshape(tf.reduce_sum(kernel, 1), [-1, 1, 1, 1])
    weights = weights * tf.constant(np.abs(distance) <= radius, tf.float32)
    starts = tf.broadcast_to(tf.constant(starts, tf.int32), [tf.shape(sigma)[0], count])
    return separable.Bands(starts, weights, length)


def _gaussian(sigma: tf.Tensor, distance: np.ndarray) -> tf.Tensor:
    """`exp(-distance^2 / (2 sigma^2))`, `[B]` and `[...]` -> `[B, ...]`; sigma 0: 1 at distance 0, else 0."""
    precision = 1.0 / tf.maximum(2.0 * sigma * sigma, 1e-8)
    precision = tf.reshape(precision, [-1] + [1] * distance.ndim)
    return tf.exp(-tf.constant(distance**2, tf.float32) * precision)
