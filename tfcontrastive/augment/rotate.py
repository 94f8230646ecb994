"""Rotation by one angle per image."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment.checks import static_image_shape


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
    images = tf.convert_to_tensor(images)
    height, width, channels = static_image_shape(images)
    images = tf.cast(images, tf.float32)
    radians = tf.cast(radians, tf.float32)[:, None, None]
    cos, sin = tf.cos(radians), tf.sin(radians)
    y = tf.range(height, dtype=tf.float32)[None, :, None] - (height - 1) / 2
    x = tf.range(width, dtype=tf.float32)[None, None, :] - (width - 1) / 2
    rows = sin * x + cos * y + (height - 1) / 2
    columns = cos * x - sin * y + (width - 1) / 2
    first_row, first_column = tf.floor(rows), tf.floor(columns)
    pixels = tf.reshape(images, [-1, height * width, channels])
    out = tf.zeros_like(pixels)
    for row in (first_row, first_row + 1):
        for column in (first_column, first_column + 1):
            weight = (1 - tf.abs(rows - row)) * (1 - tf.abs(columns - column))
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = tf.clip_by_value(row, 0, height - 1) * width + tf.clip_by_value(column, 0, width - 1)
            index = tf.reshape(tf.cast(index, tf.int32), [-1, height * width])
            weight = tf.reshape(tf.where(inside, weight, 0.0), [-1, height * width, 1])
            out += weight * tf.gather(pixels, index, batch_dims=1)
    return tf.reshape(out, [-1, height, width, channels])
