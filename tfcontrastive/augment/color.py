"""Single color ops, each with one parameter per image."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment.checks import float_images


def brightness(images: tf.Tensor, amount: tf.Tensor, *, additive: bool = False) -> tf.Tensor:
    """`image * amount`, or `image + amount`, not clipped.

    Args:
        images: float `[B, H, W, C]` in [0, 1].
        amount: float `[B]`; 1 (or 0 when additive) changes nothing.
        additive: SimCLR v1 and BYOL add, SimCLR v2 and MoCo multiply.

    Returns:
        float `[B, H, W, C]`.

    Examples:
        >>> float(brightness(tf.fill([1, 1, 1, 3], 0.5), tf.constant([1.2]))[0, 0, 0, 0])
        0.6000000238418579
    """
    images, amount = float_images(images), _per_image(amount)
    return images + amount if additive else images * amount


def contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """`mean + factor * (image - mean)`, not clipped; the mean of each image and channel, as `tf.image.adjust_contrast`.

    (torchvision takes the mean of the gray image, the same for every channel.)

    Args:
        images: float `[B, H, W, C]` in [0, 1].
        factor: float `[B]`, >= 0; 1 changes nothing, 0 leaves the mean.

    Returns:
        float `[B, H, W, C]`.

    Examples:
        >>> contrast(tf.reshape(tf.constant([0.4, 0.6]), [1, 1, 2, 1]), tf.constant([2.0])).numpy().ravel().round(4)
        array([0.3, 0.7], dtype=float32)
    """
    images = float_images(images)
    mean = channel_means(images)[:, None, None, :]
    return mean + _per_image(factor) * (images - mean)


def saturation(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiplies the S of HSV and clips it to [0, 1], as `tf.image.adjust_saturation` with one factor per image.

    (torchvision blends the image with its gray one instead.)

    Args:
        images: float `[B, H, W, 3]` in [0, 1].
        factor: float `[B]`, >= 0; 1 changes nothing, 0 leaves V.

    Returns:
        float `[B, H, W, 3]` in [0, 1].

    Examples:
        >>> saturation(tf.constant([[[[1.0, 0.5, 0.5]]]]), tf.constant([2.0])).numpy().ravel()
        array([1., 0., 0.], dtype=float32)
    """
    hue_, saturation_, value = tf.split(tf.image.rgb_to_hsv(float_images(images)), 3, axis=-1)
    saturation_ = tf.clip_by_value(saturation_ * _per_image(factor), 0.0, 1.0)
    return tf.image.hsv_to_rgb(tf.concat([hue_, saturation_, value], axis=-1))


def hue(images: tf.Tensor, delta: tf.Tensor) -> tf.Tensor:
    """Turns the H of HSV by `delta`, as `tf.image.adjust_hue` with one angle per image.

    Args:
        images: float `[B, H, W, 3]` in [0, 1].
        delta: float `[B]`, in turns; 1/3 makes red green.

    Returns:
        float `[B, H, W, 3]` in [0, 1].

    Examples:
        >>> hue(tf.constant([[[[1.0, 0.0, 0.0]]]]), tf.constant([1 / 3])).numpy().ravel().round(4)
        array([0., 1., 0.], dtype=float32)
    """
    hue_, saturation_, value = tf.split(tf.image.rgb_to_hsv(float_images(images)), 3, axis=-1)
    hue_ = tf.math.floormod(hue_ + _per_image(delta), 1.0)
    return tf.image.hsv_to_rgb(tf.concat([hue_, saturation_, value], axis=-1))


def grayscale(images: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Replaces R, G and B by the luma `.2989 R + .587 G + .114 B` in the images where the bool `[B]` is true.

    Args:
        images: float `[B, H, W, 3]`.
        where: bool `[B]`.

    Returns:
        float `[B, H, W, 3]`.

    Examples:
        >>> grayscale(tf.constant([[[[0.0, 1.0, 0.0]]]]), tf.constant([True])).numpy().ravel()
        array([0.587, 0.587, 0.587], dtype=float32)
    """
    return tf.where(where[:, None, None, None], tf.image.rgb_to_grayscale(images), images)


def solarize(images: tf.Tensor, where: tf.Tensor, threshold: float = 0.5) -> tf.Tensor:
    """Inverts the values from `threshold` up, `x -> 1 - x`, in the images where the bool `[B]` is true.

    Args:
        images: float `[B, H, W, C]` in [0, 1].
        where: bool `[B]`.
        threshold: in [0, 1].

    Returns:
        float `[B, H, W, C]` in [0, 1].

    Examples:
        >>> solarize(tf.constant([[[[0.2, 0.7]]]]), tf.constant([True])).numpy().ravel().round(4)
        array([0.2, 0.3], dtype=float32)

    Source: BYOL, arXiv 2006.07733, appendix B.
    """
    images, threshold = float_images(images), tf.where(where, threshold, 2.0)
    return tf.where(images < _per_image(threshold), images, 1.0 - images)


def channel_means(images: tf.Tensor) -> tf.Tensor:
    """`[B, H, W, C]` -> `[B, C]`; whole rows first, which is contiguous and several times faster than both axes."""
    _, height, width, channels = images.shape
    row = tf.reduce_mean(tf.reshape(images, [-1, height, width * channels]), axis=1)
    return tf.reduce_mean(tf.reshape(row, [-1, width, channels]), axis=1)


def _per_image(parameter: tf.Tensor) -> tf.Tensor:
    return tf.reshape(tf.cast(parameter, tf.float32), [-1, 1, 1, 1])
