"""Affine maps of the plane, one for each image."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment.checks import static_image_shape


def affine(images: tf.Tensor, matrix: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Reads the pixel at p, bilinearly, from `c + M (p - c) + t`, with zeros where an image has no pixels.

    p is (x, y), c = ((W - 1) / 2, (H - 1) / 2) the middle. Pixels beyond the border count as zero, each of the four
    neighbours for itself.

    Args:
        images: float `[B, H, W, C]`, static H, W and C.
        matrix: float `[B, 2, 2]`, M.
        shift: float `[B, 2]`, t in pixels.

    Returns:
        float32 `[B, H, W, C]`, in the range of the images and 0.

    Raises:
        InputError: if the image shape is not static.

    Examples:
        >>> moved = affine(tf.reshape(tf.constant([1.0, 2.0, 3.0]), [1, 1, 3, 1]), tf.eye(2)[None], [[1.0, 0.0]])
        >>> moved.numpy().ravel()
        array([2., 3., 0.], dtype=float32)
    """
    images = tf.convert_to_tensor(images)
    height, width, channels = static_image_shape(images)
    images = tf.cast(images, tf.float32)
    matrix = tf.cast(matrix, tf.float32)[:, :, :, None, None]
    shift = tf.cast(shift, tf.float32)[:, :, None, None]
    y = tf.range(height, dtype=tf.float32)[None, :, None] - (height - 1) / 2
    x = tf.range(width, dtype=tf.float32)[None, None, :] - (width - 1) / 2
    rows = matrix[:, 1, 0] * x + matrix[:, 1, 1] * y + (height - 1) / 2 + shift[:, 1]
    columns = matrix[:, 0, 0] * x + matrix[:, 0, 1] * y + (width - 1) / 2 + shift[:, 0]
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
