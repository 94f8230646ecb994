"""Which pixels a view shows: crop, resize and flip, for a whole batch at once."""

from __future__ import annotations

import math

import tensorflow as tf

from tfcontrastive.augment import random, separable
from tfcontrastive.augment.checks import byte_or_float_images, check_range, static_image_shape
from tfcontrastive.config import InputError

_TRIES = 10
_SMALL = 32  # pixels; images up to this size are evaluated whole


def sample_crop_boxes(
    seeds: tf.Tensor,
    height: int | tf.Tensor,
    width: int | tf.Tensor,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> tf.Tensor:
    """Draws one random crop per seed row.

    The distribution is that of `tf.image.sample_distorted_bounding_box`, which SimCLR and BYOL use: the aspect ratio
    r = w / h is uniform; the height is then uniform over what `scale` and the image allow; then the place is uniform
    (here over every place; TensorFlow's op never takes the last one). Small crops are thus likelier than where the area
    itself is uniform, as in torchvision. Up to 10 ratios are tried; if the image is too narrow for all of them, the box
    is the whole image. (google-research/simclr also asks that a tenth of the image be covered, which raises its
    smallest area from .08 to .1; the paper's .08 is kept here.)

    Args:
        seeds: integers `[B, 2]`.
        height, width: of the images in pixels: integers, or integer tensors, scalar or `[B]`.
        scale: (smallest, largest) part of the image's area, in (0, 1].
        ratio: (smallest, largest) width / height of the crop, > 0.

    Returns:
        int32 `[B, 4]`: top, left, height, width, in pixels.

    Raises:
        InputError: if a range is empty or out of bounds.

    Examples:
        >>> sample_crop_boxes(tf.constant([[0, 1], [0, 2]]), 224, 320).shape
        TensorShape([2, 4])

    Source: GoogLeNet's crops, arXiv 1409.4842; SimCLR, arXiv 2002.05709, appendix A.
    """
    check_range("scale", scale, below=1)
    check_range("ratio", ratio)
    draws = random.uniform(seeds, "crop", _TRIES + 3)
    height = tf.broadcast_to(tf.cast(height, tf.float32), [tf.shape(seeds)[0]])
    width = tf.broadcast_to(tf.cast(width, tf.float32), [tf.shape(seeds)[0]])
    area = (height * width)[:, None]
    ratios = ratio[0] + (ratio[1] - ratio[0]) * draws[:, :_TRIES]
    shortest = tf.round(tf.sqrt(scale[0] * area / ratios))
    tallest = tf.round(tf.minimum(tf.sqrt(scale[1] * area / ratios), width[:, None] / ratios))
    tallest = tf.minimum(tallest, height[:, None])
    fits = shortest <= tallest
    first = tf.argmax(fits, axis=1, output_type=tf.int32)
    ratios, shortest, tallest, fits = (tf.gather(x, first, batch_dims=1) for x in (ratios, shortest, tallest, fits))
    crop_height = tf.clip_by_value(shortest + tf.floor(draws[:, -3] * (tallest - shortest + 1)), 1, height)
    crop_width = tf.clip_by_value(tf.round(crop_height * ratios), 1, width)
    crop_height, crop_width = tf.where(fits, crop_height, height), tf.where(fits, crop_width, width)
    top = tf.floor(draws[:, -2] * (height - crop_height + 1))
    left = tf.floor(draws[:, -1] * (width - crop_width + 1))
    return tf.cast(tf.stack([top, left, crop_height, crop_width], axis=1), tf.int32)


def sample_flips(seeds: tf.Tensor, probability: float = 0.5) -> tf.Tensor:
    """Which images to mirror: seeds `[B, 2]` -> bool `[B]`, the flips that `random_resized_crop` makes."""
    return random.bernoulli(seeds, "flip", probability)


def flip(images: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Mirrors the images `[B, H, W, C]` left to right where the bool `[B]` is true."""
    return tf.where(where[:, None, None, None], tf.reverse(images, axis=[2]), images)


def crop_and_resize(
    images: tf.Tensor, boxes: tf.Tensor, size: int | tuple[int, int], flips: tf.Tensor | None = None
) -> tf.Tensor:
    """Crops each image to its box, resizes it bicubically, and mirrors it where asked.

    `out_b = R_b @ image_b @ C_b^T` with a sparse `R_b` `[size, H]` and `C_b` `[size, W]` per image, whose rows hold the
    four weights of the Keys kernel (a = -1/2, half-pixel centers, no antialiasing, taps outside the box dropped and the
    rest renormalised). Equal to `tf.image.resize(crop, size, "bicubic")` up to rounding, then clipped to [0, 1], as the
    kernel overshoots at edges. Pillow, and torchvision on its images, antialias where a crop shrinks.

    Args:
        images: `[B, H, W, C]`, uint8 or float in [0, 1], static H, W and C.
        boxes: int32 `[B, 4]`: top, left, height, width, inside the image.
        size: output height and width in pixels, or both as one number, >= 1.
        flips: bool `[B]`, whether to mirror left to right; None: never.

    Returns:
        float32 `[B, size, size, C]` in [0, 1].

    Raises:
        InputError: if `size` < 1, the image shape is not static, or pixels are integers but not uint8.

    Examples:
        >>> images = tf.zeros([2, 40, 50, 3], tf.uint8)
        >>> crop_and_resize(images, tf.constant([[0, 0, 40, 50], [5, 5, 20, 10]]), 32).shape
        TensorShape([2, 32, 32, 3])

    Source: R. Keys, "Cubic convolution interpolation for digital image processing" (1981).
    """
    images, boxes = byte_or_float_images(images), tf.convert_to_tensor(boxes)
    height, width, _ = static_image_shape(images)
    out_height, out_width = (size, size) if isinstance(size, int) else size
    if min(out_height, out_width) < 1:
        raise InputError(f"`size` must be >= 1. Received: size={size}.")
    rows = _cubic_bands(boxes[:, 0], boxes[:, 2], height, out_height, None)
    columns = _cubic_bands(boxes[:, 1], boxes[:, 3], width, out_width, flips)
    if images.dtype.is_integer:
        rows = rows._replace(weights=rows.weights / images.dtype.max)
    return tf.clip_by_value(separable.apply(images, rows, columns), 0.0, 1.0)


def random_resized_crop(
    images: tf.Tensor,
    seeds: tf.Tensor,
    size: int | tuple[int, int],
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    flip_probability: float = 0.0,
) -> tf.Tensor:
    """`sample_crop_boxes`, then `crop_and_resize`: a random crop per image, resized and maybe mirrored.

    Args:
        images: `[B, H, W, C]`, uint8 or float in [0, 1], static H, W and C.
        seeds: integers `[B, 2]`.
        size: output height and width in pixels, or both as one number.
        scale, ratio: as in `sample_crop_boxes`.
        flip_probability: of mirroring left to right, in [0, 1].

    Returns:
        float32 `[B, size, size, C]` in [0, 1].

    Examples:
        >>> random_resized_crop(tf.zeros([2, 32, 32, 3]), tf.constant([[0, 1], [0, 2]]), 24).shape
        TensorShape([2, 24, 24, 3])
    """
    images = byte_or_float_images(images)
    height, width, _ = static_image_shape(images)
    boxes = sample_crop_boxes(seeds, height, width, scale, ratio)
    return crop_and_resize(images, boxes, size, sample_flips(seeds, flip_probability) if flip_probability else None)


def center_crop_resize(
    images: tf.Tensor, size: int, fraction: float = 0.875, *, method: str = "bicubic", antialias: bool = False
) -> tf.Tensor:
    """What evaluation and serving see: the central square, resized.

    The square's side is `fraction` of the shorter side of the image. With `size` <= 32 nothing is cropped: such images
    are shown whole.

    Args:
        images: `[H, W, C]` or `[B, H, W, C]`, uint8 or float in [0, 1]; H and W may be dynamic.
        size: output height and width, in pixels, >= 1.
        fraction: in (0, 1].
        method, antialias: of `tf.image.resize`.

    Returns:
        float32 `[size, size, C]` or `[B, size, size, C]`, in [0, 1].

    Raises:
        InputError: if `size` or `fraction` is out of range.

    Examples:
        >>> center_crop_resize(tf.zeros([300, 400, 3], tf.uint8), 224).shape
        TensorShape([224, 224, 3])

    Source: the evaluation of SimCLR, arXiv 2002.05709, with google-research/simclr's rounding.
    """
    if size < 1:
        raise InputError(f"`size` must be >= 1. Received: size={size}.")
    check_range("fraction", (fraction, fraction), below=1)
    images = tf.image.convert_image_dtype(byte_or_float_images(images), tf.float32)
    if size > _SMALL:
        height, width = tf.unstack(tf.shape(images)[-3:-1])
        side = tf.cast(tf.math.rint(fraction * tf.cast(tf.minimum(height, width), tf.float32)), tf.int32)
        top, left = (height - side + 1) // 2, (width - side + 1) // 2
        images = images[..., top : top + side, left : left + side, :]
    return tf.clip_by_value(tf.image.resize(images, [size, size], method, antialias=antialias), 0.0, 1.0)


def _cubic_bands(
    begin: tf.Tensor, extent: tf.Tensor, length: int, size: int, flips: tf.Tensor | None
) -> separable.Bands:
    """The matrices that resize `extent[b]` pixels from `begin[b]`, out of `length`, to `size`."""
    count, block = separable.blocks(size)
    window = min(length, math.ceil((block - 1) * length / size) + 4)
    index = tf.minimum(tf.range(count * block), size - 1)[None, :]
    if flips is not None:
        index = tf.where(flips[:, None], size - 1 - index, index)
    scale = tf.cast(extent, tf.float32)[:, None] / size
    center = (tf.cast(index, tf.float32) + 0.5) * scale - 0.5
    base = tf.floor(center)
    # TensorFlow reads the kernel from a table of 1024 offsets per pixel; so do we, to agree with `tf.image.resize`.
    center = base + tf.round((center - base) * 1024) / 1024
    base, center = (tf.reshape(x, [-1, count, block]) for x in (base, center))
    first = tf.cast(tf.reduce_min(base, axis=2), tf.int32) - 1 + begin[:, None]
    first = tf.clip_by_value(first, 0, length - window)
    taps = tf.cast(first - begin[:, None], tf.float32)[:, :, None] + tf.range(window, dtype=tf.float32)
    inside = (taps >= 0) & (taps < tf.cast(extent, tf.float32)[:, None, None])
    weights = _keys(tf.abs(taps[:, :, None, :] - center[:, :, :, None]))
    weights = weights * tf.cast(inside, tf.float32)[:, :, None, :]
    return separable.Bands(first, weights / tf.reduce_sum(weights, axis=3, keepdims=True), size)


def _keys(distance: tf.Tensor) -> tf.Tensor:
    """The Keys cubic convolution kernel, a = -1/2."""
    near = (1.5 * distance - 2.5) * distance * distance + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return tf.where(distance < 1, near, tf.where(distance < 2, far, 0.0))
