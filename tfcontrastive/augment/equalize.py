"""Histogram equalization."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment.checks import float_images, static_image_shape

_LEVELS = 256


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Gives every level of a channel about as many pixels, as Pillow's `ImageOps.equalize` on 256 levels.

    With h the channel's histogram and s = (number of pixels - h of its highest level) // 255, level i becomes
    `(s // 2 + h_0 + ... + h_{i-1}) // s`; nothing changes where s is 0.

    Args:
        images: float `[B, H, W, C]` in [0, 1], static H, W and C; seen at 256 levels.

    Returns:
        float32 `[B, H, W, C]` in [0, 1].

    Examples:
        >>> image = tf.reshape(tf.linspace(0.4, 0.6, 32 * 32), [1, 32, 32, 1])
        >>> f"{float(tf.reduce_min(equalize(image))):.2f} {float(tf.reduce_max(equalize(image))):.2f}"
        '0.00 1.00'

    Source: Pillow; one of the ops of AutoAugment, arXiv 1805.09501.
    """
    images = float_images(images)
    height, width, channels = static_image_shape(images)
    rows = tf.reshape(tf.transpose(images, [0, 3, 1, 2]), [-1, height * width])
    levels = tf.cast(tf.round(tf.clip_by_value(rows, 0.0, 1.0) * (_LEVELS - 1)), tf.int32)
    count = tf.shape(levels)[0]
    places = levels + _LEVELS * tf.range(count)[:, None]
    histogram = tf.math.unsorted_segment_sum(
        tf.ones_like(tf.reshape(places, [-1])), tf.reshape(places, [-1]), _LEVELS * count
    )
    histogram = tf.reshape(histogram, [-1, _LEVELS])
    highest = tf.gather(histogram, tf.reduce_max(levels, axis=1), batch_dims=1)
    step = (height * width - highest)[:, None] // (_LEVELS - 1)
    below = tf.cumsum(histogram, axis=1, exclusive=True)
    table = tf.minimum((step // 2 + below) // tf.maximum(step, 1), _LEVELS - 1)
    table = tf.where(step == 0, tf.range(_LEVELS), table)
    found = tf.cast(tf.gather(table, levels, batch_dims=1), tf.float32) / (_LEVELS - 1)
    return tf.transpose(tf.reshape(found, [-1, channels, height, width]), [0, 2, 3, 1])
