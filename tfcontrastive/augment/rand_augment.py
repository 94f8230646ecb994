"""RandAugment: a few ops of one strength, drawn for each image from a fixed list."""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from tfcontrastive.augment import random
from tfcontrastive.augment.checks import float_images, static_image_shape
from tfcontrastive.augment.equalize import equalize
from tfcontrastive.augment.warp import affine

OPS = (
    "auto_contrast", "equalize", "invert", "rotate", "posterize", "solarize", "solarize_add", "color", "contrast",
    "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
)  # fmt: skip
COLORLESS = ("auto_contrast", "identity", "rotate", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y")
"""Those that leave hue and saturation alone, as the authors of CMC and InfoMin list them."""

_GRAY = (0.299, 0.587, 0.114)
_FILL = (0.485, 0.456, 0.406)  # ImageNet's mean color


class RandAugment(NamedTuple):
    """How many ops, and how strong.

    Attributes:
        layers: n, ops an image goes through, each drawn anew.
        magnitude: m, the mean strength, in [0, 10].
        deviation: of the strength, a normal number cut to [0, 10].
        probability: that an op that was drawn is applied, in [0, 1].
        color: False leaves out the ops that change hue and saturation.
    """

    layers: int = 2
    magnitude: float = 10.0
    deviation: float = 0.5
    probability: float = 0.5
    color: bool = True


INFOMIN = RandAugment()


def rand_augment(images: tf.Tensor, seeds: tf.Tensor, how: RandAugment = INFOMIN) -> tf.Tensor:
    """Random ops of `OPS`, one after another.

    Args:
        images: float `[B, H, W, C]` in [0, 1], static H, W and C.
        seeds: integers `[B, 2]`.
        how: numbers and strength; default: InfoMin's.

    Returns:
        float32 `[B, H, W, C]` in [0, 1].

    Examples:
        >>> rand_augment(tf.ones([2, 8, 8, 3]), tf.constant([[0, 1], [0, 2]])).shape
        TensorShape([2, 8, 8, 3])

    Source: Cubuk et al., arXiv 1909.13719; probability, deviation and ranges as in the code of InfoMin, arXiv 2005.10243.
    Differs: values are not rounded to bytes between ops; interpolation is bilinear, there bilinear or bicubic at random.
    """
    images, names = float_images(images), OPS if how.color else COLORLESS
    for layer in range(how.layers):
        draws = random.uniform(seeds, f"rand_augment_{layer}", 5)
        place = tf.cast(tf.floor(draws[:, 0] * len(names)), tf.int32)
        place = tf.where(draws[:, 1] < how.probability, place, -1)
        normal = tf.sqrt(-2.0 * tf.math.log(1.0 - draws[:, 2])) * tf.cos(2.0 * math.pi * draws[:, 3])
        level = tf.clip_by_value(how.magnitude + how.deviation * normal, 0.0, 10.0) / 10.0
        chosen = {name: place == i for i, name in enumerate(names)}
        images = apply(images, chosen, level, tf.where(draws[:, 4] < 0.5, -1.0, 1.0))
    return images


def apply(images: tf.Tensor, chosen: dict[str, tf.Tensor], level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    """One op on each image, or none.

    With l the level and s the sign, as in the authors' tables: rotate 30 l s degrees; shear .3 l s; translate .45 l s of the
    side; posterize to int(4 l) bits; solarize from int(256 l) of 255 up; solarize_add int(110 l) to values below 128;
    color, contrast, brightness and sharpness by the factor .1 + 1.8 l.

    Args:
        images: float `[B, H, W, C]` in [0, 1].
        chosen: op -> bool `[B]`, of which at most one is true for an image.
        level: float `[B]` in [0, 1].
        sign: float `[B]`, 1 or -1.
    """
    images, nobody = float_images(images), tf.zeros_like(level, tf.bool)
    chosen = {name: chosen.get(name, nobody) for name in (*OPS, "identity")}
    warped = _warped(images, chosen, level, sign)
    mixed = tf.clip_by_value(_mixed(warped, chosen, 0.1 + 1.8 * level), 0.0, 1.0)
    return tf.clip_by_value(_levels_changed(mixed, chosen, level), 0.0, 1.0)


def _warped(images: tf.Tensor, chosen: dict[str, tf.Tensor], level: tf.Tensor, sign: tf.Tensor) -> tf.Tensor:
    """Rotation, shear and translation, around the mean color."""
    height, width, channels = static_image_shape(images)
    of = {name: tf.where(chosen[name], level * sign, 0.0) for name in ("rotate", "shear_x", "shear_y")}
    x, y = (tf.where(chosen[f"translate_{axis}"], 0.45 * level * sign, 0.0) for axis in "xy")
    angle, shear_x, shear_y = math.radians(30) * of["rotate"], 0.3 * of["shear_x"], 0.3 * of["shear_y"]
    cos, sin = tf.cos(angle), tf.sin(angle)
    matrix = tf.stack([tf.stack([cos, shear_x - sin], axis=1), tf.stack([shear_y + sin, cos], axis=1)], axis=1)
    # The corner stays where it is in a shear, not the middle.
    shift = tf.stack([x * width + shear_x * height / 2, y * height + shear_y * width / 2], axis=1)
    fill = tf.constant(_FILL if channels == 3 else [0.5] * channels)
    moved = affine(images - fill, matrix, shift) + fill
    geometric = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
    return _where(tf.reduce_any([chosen[name] for name in geometric], axis=0), moved, images)


def _mixed(images: tf.Tensor, chosen: dict[str, tf.Tensor], factor: tf.Tensor) -> tf.Tensor:
    """What is linear in the pixels: `scale * image + offset + share * (gray or blurred image)`."""
    scale, offset = tf.ones_like(factor)[:, None], tf.zeros_like(factor)[:, None]
    low, high = (f(images, axis=[1, 2]) for f in (tf.reduce_min, tf.reduce_max))  # of each channel
    stretch = tf.where(high > low, 1.0 / tf.maximum(high - low, 1e-6), 1.0)
    scale = tf.where(chosen["auto_contrast"][:, None], stretch, scale)
    offset = tf.where(chosen["auto_contrast"][:, None] & (high > low), -low * stretch, offset)
    scale = tf.where(chosen["invert"][:, None], -1.0, scale)
    offset = tf.where(chosen["invert"][:, None], 1.0, offset)
    gray = _gray(images)
    mean = tf.reduce_mean(gray, axis=[1, 2])
    offset = tf.where(chosen["contrast"][:, None], (1.0 - factor)[:, None] * mean, offset)
    blends = ("contrast", "brightness", "sharpness", *(("color",) if images.shape[-1] == 3 else ()))
    scale = tf.where(tf.reduce_any([chosen[name] for name in blends], axis=0)[:, None], factor[:, None], scale)
    found = images * scale[:, None, None, :] + offset[:, None, None, :]
    if images.shape[-1] == 3:
        found += _column(tf.where(chosen["color"], 1.0 - factor, 0.0)) * gray
    return found + _column(tf.where(chosen["sharpness"], 1.0 - factor, 0.0)) * _smooth(images)


def _levels_changed(images: tf.Tensor, chosen: dict[str, tf.Tensor], level: tf.Tensor) -> tf.Tensor:
    """Posterize, solarize, solarize_add and equalize: tables of levels, of which only the last one looks at the image."""
    threshold = tf.where(chosen["solarize"], tf.floor(256 * level), 256.0) / 255
    found = tf.where(images < _column(threshold), images, 1.0 - images)
    added = tf.where(chosen["solarize_add"], tf.floor(110 * level), 0.0) / 255
    found = tf.where(found < 128 / 255, found + _column(added), found)
    kept = _column(2.0 ** (8.0 - tf.floor(4 * level)))  # levels that become one
    coarse = tf.floor(tf.round(found * 255) / kept) * kept / 255
    found = _where(chosen["posterize"], coarse, found)
    return _where(chosen["equalize"], equalize(images), found)


def _gray(images: tf.Tensor) -> tf.Tensor:
    if images.shape[-1] != 3:
        return tf.reduce_mean(images, axis=-1, keepdims=True)
    return tf.reduce_sum(images * tf.constant(_GRAY), axis=-1, keepdims=True)


def _smooth(images: tf.Tensor) -> tf.Tensor:
    """Pillow's SMOOTH: a weight of 5 for a pixel and 1 for its neighbours, over 13; the border stays as it is."""
    height, width, channels = static_image_shape(images)
    if min(height, width) < 3:
        return images
    kernel = tf.constant([[1.0, 1.0, 1.0], [1.0, 5.0, 1.0], [1.0, 1.0, 1.0]]) / 13
    kernel = tf.tile(kernel[:, :, None, None], [1, 1, channels, 1])
    inner = tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "VALID")
    middle = tf.pad(inner, [[0, 0], [1, 1], [1, 1], [0, 0]])
    border = tf.pad(tf.zeros([height - 2, width - 2], tf.bool), [[1, 1], [1, 1]], constant_values=True)
    return tf.where(border[None, :, :, None], images, middle)


def _column(values: tf.Tensor) -> tf.Tensor:
    return values[:, None, None, None]


def _where(chosen: tf.Tensor, one: tf.Tensor, other: tf.Tensor) -> tf.Tensor:
    return tf.where(_column(chosen), one, other)
