"""Color jitter: random brightness, contrast, saturation, hue and gray, in an exact and in a fast form."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive.augment import random
from tfcontrastive.augment.checks import float_images, static_image_shape
from tfcontrastive.augment.color import brightness, channel_means, contrast, grayscale, hue, saturation
from tfcontrastive.config import InputError, unknown

FORMS = ("fused", "exact")

# RGB to luma Y and the two color axes I and Q (NTSC).
_YIQ = np.array([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


class ColorRange(NamedTuple):
    """How far a color jitter of range x goes.

    Factors are in [max(1 - x, 0), 1 + x], additive brightness in [-x, x], hue in [-x, x] turns.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float


class _Draws(NamedTuple):
    """The parameters of a jitter, each `[B]`; neutral where the jitter is not applied."""

    applied: tf.Tensor
    brightness: tf.Tensor
    contrast: tf.Tensor
    saturation: tf.Tensor
    hue: tf.Tensor
    gray: tf.Tensor


def color_jitter(
    images: tf.Tensor,
    seeds: tf.Tensor,
    limits: ColorRange | tuple[float, float, float, float],
    *,
    probability: float = 0.8,
    gray_probability: float = 0.0,
    gray_first: bool = False,
    additive: bool = False,
    form: str = "fused",
) -> tf.Tensor:
    """Random brightness, contrast, saturation and hue, then (or before them) random grayscale.

    `form="exact"` does what google-research/simclr does: the single ops of this module in random order, with a clip to
    [0, 1] after each. The order is drawn for the batch, from the first word of its seeds, which `row_seeds` makes the
    same for the whole step, on every replica; everything else is drawn for each image.

    `form="fused"`, several times faster, is the same without the clips in between. Saturation f and hue angle t act on
    the I and Q axes of YIQ, so with brightness b they are one matrix per image,
    `M = b (P_y + f cos(2 pi t) P_c + f sin(2 pi t) P_s)`, gray being f = 0. Contrast c around the means follows, all
    in all `clip(c M x + (1 - c) M mean(x))`, where the order does not matter.

    Images without 3 channels keep to brightness and contrast; a log line says so.

    Args:
        images: float `[B, H, W, C]` in [0, 1], static H, W and C.
        seeds: integers `[B, 2]`.
        limits: (brightness, contrast, saturation, hue), see `ColorRange`; hue <= .5.
        probability: that an image is jittered, in [0, 1].
        gray_probability: that an image becomes gray, in [0, 1].
        gray_first: gray before the jitter, as in MoCo v1; makes no difference to the fused form.
        additive: brightness adds rather than multiplies, as in SimCLR v1 and BYOL.
        form: "fused" or "exact".

    Returns:
        float `[B, H, W, C]` in [0, 1].

    Raises:
        InputError: an unknown form, a negative limit, or hue > .5.

    Examples:
        >>> images = tf.fill([2, 8, 8, 3], 0.5)
        >>> color_jitter(images, tf.constant([[0, 1], [0, 2]]), (0.8, 0.8, 0.8, 0.2)).shape
        TensorShape([2, 8, 8, 3])

    Source: SimCLR, arXiv 2002.05709, appendix A.
    """
    limits = ColorRange(*limits)
    if form not in FORMS:
        raise InputError(f"`form` {unknown(form, FORMS)}")
    if min(limits) < 0 or limits.hue > 0.5:
        raise InputError(f"`limits` must be >= 0, and its hue <= 0.5. Received: limits={tuple(limits)}.")
    images = float_images(images)
    _, _, channels = static_image_shape(images)
    if channels != 3:
        _say_skipped(channels)
        limits = limits._replace(saturation=0.0, hue=0.0)
        gray_probability = 0.0
    draws = _draw(seeds, limits, probability, gray_probability, additive)
    if form == "fused":
        return _fused(images, draws, additive)
    if gray_probability and gray_first:
        images = grayscale(images, draws.gray)
    images = _exact(images, seeds, limits, draws, additive)
    if gray_probability and not gray_first:
        images = grayscale(images, draws.gray)
    return images


def _draw(seeds: tf.Tensor, limits: ColorRange, probability: float, gray_probability: float, additive: bool) -> _Draws:
    u = tf.unstack(random.uniform(seeds, "color", 6), axis=1)
    applied = u[0] < probability

    def factor(draw, limit):
        low, high = max(1.0 - limit, 0.0), 1.0 + limit
        return tf.where(applied, low + (high - low) * draw, 1.0)

    def shift(draw, limit):
        return tf.where(applied, limit * (2.0 * draw - 1.0), 0.0)

    return _Draws(
        applied=applied,
        brightness=(shift if additive else factor)(u[1], limits.brightness),
        contrast=factor(u[2], limits.contrast),
        saturation=factor(u[3], limits.saturation),
        hue=shift(u[4], limits.hue),
        gray=u[5] < gray_probability,
    )


def _exact(images: tf.Tensor, seeds: tf.Tensor, limits: ColorRange, draws: _Draws, additive: bool) -> tf.Tensor:
    known = {
        "brightness": functools.partial(brightness, amount=draws.brightness, additive=additive),
        "contrast": functools.partial(contrast, factor=draws.contrast),
        "saturation": functools.partial(saturation, factor=draws.saturation),
        "hue": functools.partial(hue, delta=draws.hue),
    }
    ops = [op for name, op in known.items() if getattr(limits, name)]
    if not ops:
        return images
    order = tf.argsort(random.uniform(seeds[:1] * [1, 0], "order", len(ops))[0])
    jittered = images
    for i in range(len(ops)):
        jittered = tf.switch_case(order[i], [functools.partial(op, jittered) for op in ops])
        jittered = tf.clip_by_value(tf.ensure_shape(jittered, images.shape), 0.0, 1.0)
    # A round trip through HSV is not exact, so what is not jittered is taken from the original.
    return tf.where(draws.applied[:, None, None, None], jittered, images)


def _fused(images: tf.Tensor, draws: _Draws, additive: bool) -> tf.Tensor:
    means = channel_means(images)
    gain, offset = (1.0, draws.brightness) if additive else (draws.brightness, 0.0)
    keep = (1.0 - draws.contrast)[:, None]
    offset = tf.reshape(offset, [-1, 1])
    if images.shape[-1] != 3:
        gain = tf.reshape(gain, [-1, 1])
        scale, shift = draws.contrast[:, None] * gain, keep * gain * means + offset
        return tf.clip_by_value(images * scale[:, None, None, :] + shift[:, None, None, :], 0.0, 1.0)
    matrix = _color_matrix(gain, tf.where(draws.gray, 0.0, draws.saturation), draws.hue)
    shift = keep * tf.einsum("bc,bcd->bd", means, matrix) + offset
    return _affine(images, matrix * draws.contrast[:, None, None], shift)


def _color_matrix(gain: tf.Tensor | float, factor: tf.Tensor, turns: tf.Tensor) -> tf.Tensor:
    """`[B, 3, 3]` M with `out = in @ M`: gain, saturation (a scaling) and hue (a rotation) of the I-Q plane."""
    inverse = np.linalg.inv(_YIQ)

    def projection(middle):
        return tf.constant((inverse @ np.array(middle) @ _YIQ).T, tf.float32)

    luma = projection([[1, 0, 0], [0, 0, 0], [0, 0, 0]])
    color = projection([[0, 0, 0], [0, 1, 0], [0, 0, 1]])
    turned = projection([[0, 0, 0], [0, 0, 1], [0, -1, 0]])  # from red towards yellow and green, as H does
    angle = 2 * np.pi * turns
    cos, sin = (tf.reshape(factor * f(angle), [-1, 1, 1]) for f in (tf.cos, tf.sin))
    return tf.reshape(gain, [-1, 1, 1]) * (luma + cos * color + sin * turned)


def _affine(images: tf.Tensor, matrix: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """`clip(images @ matrix + shift)` with `[B, 3, 3]` and `[B, 3]`.

    A product with 3 columns leaves most of a vector unit idle, so 8 pixels are multiplied at once, by a block-diagonal
    matrix; the zeros cost less than they win.
    """
    _, height, width, _ = images.shape
    group = next(g for g in (8, 4, 2, 1) if height * width % g == 0)
    eye = tf.eye(group)[None, :, None, :, None]
    blocks = tf.reshape(eye * matrix[:, None, :, None, :], [-1, 3 * group, 3 * group])
    pixels = tf.matmul(tf.reshape(images, [-1, height * width // group, 3 * group]), blocks)
    pixels = pixels + tf.tile(shift[:, None, :], [1, 1, group])
    return tf.reshape(tf.clip_by_value(pixels, 0.0, 1.0), [-1, height, width, 3])


@functools.cache
def _say_skipped(channels: int) -> None:  # once for each number of channels
    count = "1 channel" if channels == 1 else f"{channels} channels"
    logging.info("The images have %s: saturation, hue and grayscale, which need 3, are skipped.", count)
