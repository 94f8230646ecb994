"""Checks of what the ops are given."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.config import InputError


def byte_or_float_images(images: tf.Tensor) -> tf.Tensor:
    """The images, or an array of them, as a tensor; of integers only uint8 tells what the brightest pixel is.

    Raises:
        InputError: other integers.
    """
    images = tf.convert_to_tensor(images)
    if not (images.dtype.is_floating or images.dtype == tf.uint8):
        raise InputError(
            f"`images` must be uint8, or float in [0, 1]. Received: dtype={images.dtype.name}. "
            "Cast pixels in 0..255 to uint8."
        )
    return images


def float_images(images: tf.Tensor) -> tf.Tensor:
    """The images, or an array of them, as a tensor; pixels of integers have another range than the ops think.

    Raises:
        InputError: they are no floats.
    """
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise InputError(
            f"`images` must be float in [0, 1]. Received: dtype={images.dtype.name}. "
            "Use tf.image.convert_image_dtype(images, tf.float32) on uint8."
        )
    return images


def static_image_shape(images: tf.Tensor) -> tuple[int, int, int]:
    """(height, width, channels) of a batch `[B, H, W, C]`, which must be known when the graph is made."""
    shape = images.shape
    if shape.rank != 4 or None in shape[1:]:
        raise InputError(f"`images` must be [B, H, W, C] with static H, W and C. Received: images of shape {shape}.")
    return shape[1], shape[2], shape[3]


def check_range(name: str, limits: tuple[float, float], below: float = float("inf")) -> None:
    """`limits` must be (low, high) with 0 < low <= high <= below."""
    low, high = limits
    if not 0 < low <= high <= below:
        rule = "0 < low <= high" + (f" <= {below:g}" if below < float("inf") else "")
        raise InputError(f"`{name}` must be (low, high) with {rule}. Received: {name}={limits}.")
