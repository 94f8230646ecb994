"""Rotation by one angle per image."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment.warp import affine


def rotate(images: tf.Tensor, radians: tf.Tensor) -> tf.Tensor:
    """Turns each image counterclockwise about its middle, with zeros where it has no pixels.

    The pixel at (x, y) is read, bilinearly, from
    `(x', y') = (c_x, c_y) + [[cos, -sin], [sin, cos]] (x - c_x, y - c_y)` with `c = ((W - 1) / 2, (H - 1) / 2)`.
    Pixels beyond the border count as zero, each of the four neighbours for itself.

    Args:
        images: float `[B, H, W, C]`, static H, W and C.
        radians: float `[B]`; any angle.

    Returns:
        float32 `[B, H, W, C]`, in the range of the images.

    Raises:
        InputError: if the image shape is not static.

    Examples:
        >>> rotate(tf.ones([2, 8, 8, 3]), tf.constant([0.0, 0.5])).shape
        TensorShape([2, 8, 8, 3])

    Source: the rotations of RandAugment, arXiv 1909.13719.
    """
    radians = tf.cast(radians, tf.float32)
    cos, sin = tf.cos(radians), tf.sin(radians)
    matrix = tf.stack([tf.stack([cos, -sin], axis=1), tf.stack([sin, cos], axis=1)], axis=1)
    return affine(images, matrix, tf.zeros_like(matrix[:, 0]))
