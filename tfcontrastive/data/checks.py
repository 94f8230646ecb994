"""What may enter as images and labels: one rule for arrays, their files, data sets, training, evaluation and prediction.

Images are `[B, H, W, C]`: uint8, integers of any width in 0..255, or floats in [0, 1]. Labels are integers `[B]`, or one-hot
rows `[B, C]`. Shapes and types are checked when a graph is made; values at once in arrays, and by an assertion in graphs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError

_ROUNDING = 1e-3  # what resizing may add to [0, 1]; a quarter of a step of 8 bits
_EIGHT_BITS = (64.0, 1024.0)  # no normalised pixel is so large, and pixels of 8 bits are, even brightened
MOST = 2**31 - 1
_FAILED = "assertion failed: "


# Shapes and types, which are known before any value is.


def check_layout(shape: Sequence[int | None], where: str, channels: int | None = None) -> None:
    """Images must be `[N, H, W]` or `[N, H, W, C]`, channels last.

    Args:
        shape: static; None where a side is not known.
        where: what the images are, for the error's sake.
        channels: that they must have, C; None: any number.

    Raises:
        InputError: another shape.
    """
    shape = tuple(shape)
    wanted = f"[N, H, W, {channels or 'C'}]"
    if len(shape) not in (3, 4) or 0 in shape:
        raise InputError(f"{where}: images must be [N, H, W] or {wanted}. Received: shape={shape}.")
    if channels_first(shape):
        raise InputError(
            f"{where}: images must have their channels last, {wanted}. Received: shape={shape}. "
            "Use np.moveaxis(images, 1, -1)."
        )
    if channels is None:
        return
    if len(shape) == 3 and (channels > 1 or shape[2] == 1):
        batched = "; batch a data set, dataset.batch(size)" if shape[2] in (None, channels) else ""
        raise InputError(
            f"{where}: images must be {wanted}, as the encoder takes them. Received: shape={shape}{batched}."
        )
    if len(shape) == 4 and shape[3] not in (None, channels):
        raise InputError(f"{where}: images must be {wanted}, as the encoder takes them. Received: shape={shape}.")


def channels_first(shape: Sequence[int | None]) -> bool:
    """Whether `[N, ...]` can only be `[N, C, H, W]`: few rows, and as many "channels" as columns."""
    if len(shape) != 4 or None in shape[1:]:
        return False
    first, height, width = shape[1:]
    return min(height, width) > 4 and (first in (3, 4) or (first == 1 and height == width))


def check_image_dtype(dtype: Any, where: str) -> None:
    """Images must be integers or floats.

    Raises:
        InputError: another type.
    """
    dtype = tf.as_dtype(dtype)
    if not (dtype.is_integer or dtype.is_floating):
        raise InputError(
            f"{where}: images must be uint8, integers in 0..255, or float in [0, 1]. Received: dtype={dtype.name}."
        )


def _float_line(where: str) -> str:
    return f"{where}: float images must lie in [0, 1]. Received:"


def _integer_line(where: str) -> str:
    return f"{where}: images of integers must lie in 0..255. Received:"


_FLOAT_ADVICE = "Divide 8-bit pixels by 255, or give them as uint8; leave mean and deviation to the encoder."
_INTEGER_ADVICE = "Scale pixels of more bits to float in [0, 1] by their own range."


# Arrays, whose values are at hand.


def check_images(images: np.ndarray, where: str, channels: int | None = None) -> None:
    """An array of images must have a shape, a type and values that fit.

    Args:
        images: `[N, H, W]` or `[N, H, W, C]`.
        where: what they are, for the error's sake.
        channels: that they must have; None: any number.

    Raises:
        InputError: they do not fit.
    """
    check_layout(images.shape, where, channels)
    check_image_dtype(images.dtype, where)
    if images.dtype == np.uint8:
        return
    low, high = images.min(), images.max()
    if np.issubdtype(images.dtype, np.integer):
        if low < 0 or high > 255:
            raise InputError(f"{_integer_line(where)} {low} to {high}. {_INTEGER_ADVICE}")
    elif not np.isfinite(low + high):
        finite = np.isfinite(images.reshape(len(images), -1)).all(axis=1)
        raise InputError(f"{_float_line(where)} NaN or infinity, first in image {int(np.argmin(finite))}.")
    elif low < -_ROUNDING or high > 1 + _ROUNDING:
        raise InputError(f"{_float_line(where)} {float(low):g} to {float(high):g}. {_FLOAT_ADVICE}")


def as_bytes(images: np.ndarray, where: str) -> np.ndarray:
    """The images as uint8 `[N, H, W, C]`, once they are checked; floats are rounded to 8 bits."""
    check_images(images, where)
    if images.dtype != np.uint8:
        if not np.issubdtype(images.dtype, np.integer):
            images = np.clip(np.round(images * 255), 0, 255)
        images = images.astype(np.uint8)
    return images if images.ndim == 4 else images[..., np.newaxis]


def class_numbers(labels: np.ndarray, count: int, limit: int, where: str, *, least: int = 0) -> np.ndarray:
    """The labels as int32 `[N]`, of integers `[N]` or `[N, 1]`, or of one-hot rows.

    Args:
        labels: of `count` images.
        limit: the number of classes; a one-hot row is as long, where that is less than a million.
        where: what they are, for the error's sake.
        least: the lowest label.

    Raises:
        InputError: they do not fit.
    """
    if labels.shape == (count, 1) and np.issubdtype(labels.dtype, np.integer):  # as Keras' cifar10 has them
        labels = labels[:, 0]
    if labels.ndim == 2 and len(labels) == count and labels.shape[1] > 1 and labels.dtype.kind in "iufb":
        ones = (labels == 1).sum(axis=1) == 1
        if not (ones.all() and ((labels == 0) | (labels == 1)).all()):
            raise InputError(f"{_one_hot_line(where)} {labels.dtype} {list(labels.shape)} with other rows.")
        labels = labels.argmax(axis=1)
    if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
        raise InputError(
            f"{where}: labels must be integers of shape [{count}], or one-hot of shape [{count}, classes]. "
            f"Received: {labels.dtype} {list(labels.shape)}."
        )
    if not count:
        return labels.astype(np.int32)
    lowest, highest = int(labels.min()), int(labels.max())
    if not least <= lowest <= highest < limit:
        raise InputError(f"{where}: labels must be in 0..{limit - 1}. Received: {lowest}..{highest}.")
    return labels.astype(np.int32)


def _one_hot_line(where: str) -> str:
    return f"{where}: one-hot labels must have one 1 and otherwise 0 in each row. Received:"


# Tensors, whose values are asserted.


def images_of(tensor: Any, where: str, shape: Sequence[int | None], *, asserted: bool, sized: bool = True) -> tf.Tensor:
    """Whole images `[B, H, W, C]`, uint8 or float in [0, 1].

    Args:
        tensor: `[B, H, W, C]`, or `[B, H, W]` for an encoder of one channel.
        where: what they are, for the error's sake.
        shape: (H, W, C) of the encoder, None where it takes any.
        asserted: whether the graph looks at values.
        sized: whether their size must be known, as crops of them need it.

    Raises:
        InputError: another shape or type; eagerly, other values too.
    """
    images = _with_channels(_dense(tensor, where), where, shape, asserted)
    if sized and None in images.shape[1:]:
        raise InputError(
            f"{where}: images must have one size, which the data set states. Received: shape={_shown(images)}. "
            "Use dataset.map with tf.image.resize before dataset.batch, or tf.ensure_shape."
        )
    return _checked_pixels(images, where) if asserted else _eight_bits(images)


def views_of(
    tensors: Sequence[Any], where: str, shape: Sequence[int | None], *, asserted: bool, ready: bool
) -> list[tf.Tensor]:
    """Views `[B, H, W, C]`, floats, each as it is but for integers, which become [0, 1].

    Args:
        tensors: one a view; their sizes may differ.
        where, shape, asserted: as in `images_of`.
        ready: nothing more is done to them, hence they may be normalised; else they lie in [0, 1].
    """
    views = [_with_channels(_dense(tensor, where), where, shape, asserted) for tensor in tensors]
    if asserted:
        check = _checked_views if ready else _checked_pixels
        views = [check(view, where) for view in views]
    else:
        views = [_eight_bits(view) for view in views]
    return [as_floats(view, where, asserted=asserted) for view in views]


def as_floats(images: Any, where: str = "`images`", *, asserted: bool = True) -> tf.Tensor:
    """Floats as they are; integers 0..255, of any width, as float32 in [0, 1]."""
    images = tf.convert_to_tensor(images)
    check_image_dtype(images.dtype, where)
    if images.dtype.is_floating:
        return images
    return tf.image.convert_image_dtype(_checked_pixels(images, where) if asserted else _eight_bits(images), tf.float32)


def labels_of(tensor: Any, where: str, images: tf.Tensor, num_classes: int | None, *, asserted: bool) -> tf.Tensor:
    """The labels int32 `[B]` of a batch; a negative one means: none.

    Args:
        tensor: integers `[B]` or `[B, 1]`, or one-hot `[B, C]`.
        where: what they are, for the error's sake.
        images: or a view, `[B, ...]`.
        num_classes: of the probe; None: any number.
        asserted: whether the graph looks at values.

    Raises:
        InputError: another shape or type; eagerly, other values too.
    """
    labels = _dense(tensor, where)
    shape, dtype = labels.shape, labels.dtype
    if shape.rank == 2 and shape[1] == 1 and dtype.is_integer:
        labels = labels[:, 0]
    elif shape.rank == 2 and shape[1] in {num_classes or shape[1]} - {None, 1} and _is_number(dtype):
        ones = tf.equal(labels, tf.cast(1, dtype)) if dtype != tf.bool else labels
        if asserted:
            rest = ones | (tf.equal(labels, tf.cast(0, dtype)) if dtype != tf.bool else ~labels)
            whole = tf.reduce_all(rest) & tf.reduce_all(tf.reduce_sum(tf.cast(ones, tf.int32), axis=1) == 1)
            ones = _require(whole, ones, f"{_one_hot_line(where)} other rows.", list)
        labels = tf.argmax(ones, axis=1) if dtype != tf.bool else tf.argmax(tf.cast(ones, tf.int32), axis=1)
    if labels.shape.rank != 1 or not labels.dtype.is_integer or not labels.shape.is_compatible_with(images.shape[:1]):
        rows = "B" if images.shape[0] is None else images.shape[0]
        raise InputError(
            f"{where}: labels must be integers of shape [{rows}], or one-hot of shape [{rows}, {num_classes or 'classes'}]. "
            f"Received: {dtype.name} {_shown(labels)}."
        )
    if asserted:
        count, limit = tf.shape(images)[0], num_classes or MOST
        if images.shape[0] is None or labels.shape[0] is None:
            line = f"{where}: labels must be as many as the images. Received: (labels, images)"
            labels = _require(tf.equal(tf.size(labels), count), labels, line, lambda: [tf.size(labels), count])
        wide, found = tf.cast(labels, tf.int64), labels
        line = f"{where}: labels must be in 0..{limit - 1}, or negative for none. Received:"
        labels = _require(
            tf.reduce_all(wide < limit), found, line, lambda: [tf.reduce_min(wide), "to", tf.reduce_max(wide)]
        )
    return tf.ensure_shape(tf.cast(labels, tf.int32), images.shape[:1])


def _is_number(dtype: tf.DType) -> bool:
    return dtype.is_integer or dtype.is_floating or dtype == tf.bool


def _dense(tensor: Any, where: str) -> tf.Tensor:
    if isinstance(tensor, (tf.RaggedTensor, tf.SparseTensor)):
        raise InputError(f"{where} must be a dense tensor. Received: {type(tensor).__name__}.")
    dense = tf.convert_to_tensor(tensor)
    if dense.shape.rank is None:
        raise InputError(f"{where} must have a known rank. Received: a tensor of unknown shape; use tf.ensure_shape.")
    return dense


def _with_channels(images: tf.Tensor, where: str, shape: Sequence[int | None], asserted: bool) -> tf.Tensor:
    height, width, channels = shape
    check_image_dtype(images.dtype, where)
    check_layout(_shown(images), where, channels)
    images = images if images.shape.rank == 4 else images[..., tf.newaxis]
    for side, (own, wanted) in enumerate(zip(images.shape[1:3], (height, width), strict=True)):
        if None not in (own, wanted) and own != wanted:
            raise InputError(
                f"{where}: images must be {height or 'H'} x {width or 'W'} pixels, as the encoder takes them. "
                f"Received: shape={_shown(images)}, {own} along axis {side + 1}. Resize them, or build the encoder for them."
            )
    if asserted and images.shape[-1] is None:
        found = tf.shape(images)[-1]
        line = f"{where}: images must have {channels} channels, as the encoder takes them. Received:"
        images = _require(tf.equal(found, channels), images, line, lambda: [found])
    return tf.ensure_shape(images, [None, None, None, channels])


def _shown(tensor: tf.Tensor) -> tuple[int | None, ...]:
    return tuple(tensor.shape)


def _eight_bits(images: tf.Tensor) -> tf.Tensor:
    """Integers as uint8, which their values allow; floats as they are."""
    return images if images.dtype.is_floating else tf.cast(images, tf.uint8)


def _checked_pixels(images: tf.Tensor, where: str) -> tf.Tensor:
    """Images, once their values are in range: integers, whatever their width, as uint8."""
    if images.dtype == tf.uint8:
        return images
    integers = not images.dtype.is_floating
    values = tf.cast(images, tf.int64) if integers else images
    low, high = (0, 255) if integers else (-_ROUNDING, 1 + _ROUNDING)
    inside = (values >= tf.cast(low, values.dtype)) & (values <= tf.cast(high, values.dtype))  # NaN is not
    line, advice = (_integer_line(where), _INTEGER_ADVICE) if integers else (_float_line(where), _FLOAT_ADVICE)
    return _eight_bits(_require(tf.reduce_all(inside), images, line, lambda: _range(values, advice)))


def _checked_views(images: tf.Tensor, where: str) -> tf.Tensor:
    """Views that are ready, once they are finite and not of 8 bits."""
    if not images.dtype.is_floating:
        return _checked_pixels(images, where)
    low, high = (tf.cast(limit, images.dtype) for limit in _EIGHT_BITS)
    wrong = ~tf.math.is_finite(images) | ((images > low) & (images < high))
    line = f"{where}: views must be finite, and in [0, 1] or normalised. Received:"
    return _require(~tf.reduce_any(wrong), images, line, lambda: _range(images, "Divide 8-bit pixels by 255."))


def _range(values: tf.Tensor, advice: str) -> list[tf.Tensor | str]:
    """The lowest and the highest value in words; NaN and infinity are told as such."""
    low, high = tf.reduce_min(values), tf.reduce_max(values)
    if values.dtype.is_floating:
        broken = ~tf.reduce_all(tf.math.is_finite(values))
        low, high = (tf.where(broken, tf.cast(np.nan, values.dtype), value) for value in (low, high))
    return [low, "to", high, f". {advice}"]


def _require(condition: tf.Tensor, tensor: tf.Tensor, line: str, received: Callable[[], list[Any]]) -> tf.Tensor:
    """The tensor, once the condition holds; else an error of the line and what `received` gives, asked for only then."""
    if tf.executing_eagerly():
        if not bool(condition):
            raise InputError(_sentence([line, *(_plain(part) for part in received())]))
        return tensor

    def fail():
        said = [tf.convert_to_tensor(part) for part in (line, *received())]
        # The bare op: tf.debugging.Assert would put a condition around it once more.
        with tf.control_dependencies([tf.raw_ops.Assert(condition=tf.constant(False), data=said)]):
            return tf.constant(False)

    with tf.control_dependencies([tf.cond(condition, lambda: tf.constant(True), fail)]):
        return tf.identity(tensor)


def _plain(part: Any) -> str:
    return part if isinstance(part, str) else f"{part.numpy():.7g}"


def _sentence(parts: Sequence[str]) -> str:
    text = " ".join(parts).replace(" .", ".")
    if " nan to nan" in text:  # no advice on ranges then
        text = text.partition(" nan to nan")[0] + " NaN or infinity"
    return text if text.endswith(".") else f"{text}."


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    """Turns what TensorFlow makes of these refusals, inside a graph, into an `InputError` of one line."""
    try:
        yield
    except InputError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        if len(lines) < 2:
            raise
        raise InputError(lines[-1].removeprefix("InputError: ")) from None
    except tf.errors.InvalidArgumentError as error:
        found = re.search(re.escape(_FAILED) + r"\[(.*? Received:.*)\]", error.message)
        if found is None:
            raise
        raise InputError(_sentence(found[1].split("] ["))) from None
