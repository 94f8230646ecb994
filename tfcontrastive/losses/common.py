"""What every loss does first: check its input, choose the precision, normalise rows."""

from __future__ import annotations

import numbers

import tensorflow as tf

from tfcontrastive.config import InputError


def as_floats(**tensors: tf.Tensor) -> list[tf.Tensor]:
    """The named tensors in the precision of the loss: float64 if any of them is, else float32."""
    values = {name: tf.convert_to_tensor(tensor) for name, tensor in tensors.items()}
    for name, value in values.items():
        if not value.dtype.is_floating:
            raise InputError(f"`{name}` must hold floats. Received: dtype={value.dtype.name}.")
    double = any(value.dtype == tf.float64 for value in values.values())
    return [tf.cast(value, tf.float64 if double else tf.float32) for value in values.values()]


def matched_rows(**tensors: tf.Tensor) -> list[tf.Tensor]:
    """`as_floats` for `[B, D]` tensors whose rows belong together, hence have one shape."""
    values = as_floats(**tensors)
    check_matched(**dict(zip(tensors, values, strict=True)))
    return values


def check_matched(**values: tf.Tensor) -> None:
    first, like = next(iter(values.items()))
    for name, value in values.items():
        check_rank(name, value, 2)
        if not value.shape.is_compatible_with(like.shape):
            raise InputError(
                f"`{name}` must have the shape of `{first}`. "
                f"Received: {first}.shape={tuple(like.shape)}, {name}.shape={tuple(value.shape)}."
            )


def check_rank(name: str, value: tf.Tensor, rank: int) -> None:
    if value.shape.rank not in (rank, None):
        raise InputError(f"`{name}` must have {rank} dimensions. Received: {name}.shape={tuple(value.shape)}.")


def check_width(name: str, value: tf.Tensor, like: tf.Tensor) -> None:
    """Rows of another number, as of a queue, must still be vectors of the same length."""
    check_rank(name, value, 2)
    if not value.shape[1:].is_compatible_with(like.shape[1:]):
        raise InputError(f"`{name}` must have rows of length {like.shape[1]}. Received: shape={tuple(value.shape)}.")


def check_positive(**values: float) -> None:
    """Numbers must be > 0; a tensor, such as a learned temperature, is not checked."""
    for name, value in values.items():
        if isinstance(value, numbers.Real) and not value > 0:
            raise InputError(f"`{name}` must be > 0. Received: {name}={value!r}.")


def integers(name: str, value: tf.Tensor, rank: int) -> tf.Tensor:
    """Whole numbers, such as places in a bank, as int32.

    Raises:
        InputError: they are none, or have other dimensions.
    """
    value = tf.convert_to_tensor(value)
    if not value.dtype.is_integer:
        raise InputError(f"`{name}` must hold integers. Received: dtype={value.dtype.name}.")
    check_rank(name, value, rank)
    return tf.cast(value, tf.int32)


def scalar(value: float | tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """A number, or a tensor such as a learned temperature, in the precision of the loss."""
    return tf.cast(value, like.dtype) if tf.is_tensor(value) else tf.convert_to_tensor(value, like.dtype)


def l2_normalize(x: tf.Tensor) -> tf.Tensor:
    """Rows on the unit sphere, `x / max(|x|, 1e-12)`; the gradient at zero is finite."""
    return tf.math.l2_normalize(x, axis=-1, epsilon=1e-24)  # the epsilon bounds the squared norm


def row_count(x: tf.Tensor) -> int | tf.Tensor:
    """The number of rows: an int where it is known when the graph is built."""
    return x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
