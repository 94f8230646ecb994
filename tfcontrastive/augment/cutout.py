"""Cutout: a rectangle of each image is blanked."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment import random
from tfcontrastive.augment.checks import static_image_shape
from tfcontrastive.config import InputError


def sample_cutout_centers(seeds: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """A random pixel per seed row, uniform over the image: seeds `[B, 2]` -> int32 `[B, 2]`, row and column.

    Near the border a part of the rectangle lies outside, as in the paper.

    Args:
        seeds: integers `[B, 2]`.
        height, width: of the images, in pixels.

    Returns:
        int32 `[B, 2]`.

    Examples:
        >>> sample_cutout_centers(tf.constant([[0, 1], [0, 2]]), 32, 32).shape
        TensorShape([2, 2])
    """
    draws = random.uniform(seeds, "cutout", 2)
    return tf.cast(tf.floor(draws * tf.constant([height, width], tf.float32)), tf.int32)


def cutout(images: tf.Tensor, centers: tf.Tensor, size: int | tuple[int, int], value: float = 0.0) -> tf.Tensor:
    """Sets a rectangle of each image to one value.

    Along each axis the pixels `center - size // 2 <= i < center - size // 2 + size` are blanked, where there are any.

    Args:
        images: float `[B, H, W, C]`, static H, W and C.
        centers: integers `[B, 2]`, row and column; see `sample_cutout_centers`.
        size: height and width of the rectangle in pixels, or both as one number, >= 0.
        value: what is put in, 0 as in the paper.

    Returns:
        The images `[B, H, W, C]`, in their dtype.

    Raises:
        InputError: if `size` is negative or the image shape is not static.

    Examples:
        >>> out = cutout(tf.ones([1, 4, 4, 1]), tf.constant([[1, 1]]), 2)
        >>> out[0, :, :, 0].numpy().tolist()[0]
        [0.0, 0.0, 1.0, 1.0]

    Source: DeVries and Taylor, arXiv 1708.04552.
    """
    sizes = (size, size) if isinstance(size, int) else tuple(size)
    if min(sizes) < 0:
        raise InputError(f"`size` must be >= 0. Received: size={size}.")
    images, centers = tf.convert_to_tensor(images), tf.convert_to_tensor(centers)
    height, width, _ = static_image_shape(images)
    rows = _within(centers[:, 0], sizes[0], height)
    columns = _within(centers[:, 1], sizes[1], width)
    blank = (rows[:, :, None] & columns[:, None, :])[..., None]
    return tf.where(blank, tf.cast(value, images.dtype), images)


def _within(center: tf.Tensor, size: int, length: int) -> tf.Tensor:
    """Which of `length` pixels the interval covers: `[B]` -> bool `[B, length]`."""
    first = tf.cast(center, tf.int32)[:, None] - size // 2
    index = tf.range(length)[None, :]
    return (index >= first) & (index < first + size)
