"""Split expressions such as `train[:90%]` for sources that tensorflow-datasets does not read.

A slice is taken from a fixed, seeded order of the examples and not from the order on disk, where the images of a class
usually lie together: `train[:90%]` and `train[90%:]` are two parts of like content, disjoint and complete.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError, unknown

_EXPRESSION = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<start>-?\d+%?)?:(?P<stop>-?\d+%?)?\])?")
_ORDER_SEED = (0, 0)  # never changed: a held-out part must be the same in every run


def parse_split(expression: str, sizes: Mapping[str, int]) -> tuple[str, int, int]:
    """The split's name and the bounds that an expression selects from its seeded order.

    The syntax is that of tensorflow-datasets: `name`, or `name[start:stop]` with bounds that are numbers of examples or
    whole percentages, counted from the end where negative. Percentages are rounded to the nearest example.

    Args:
        expression: such as `train`, `train[:90%]` or `train[-100:]`.
        sizes: the number of examples of each split.

    Returns:
        (name, start, stop) with 0 <= start < stop <= sizes[name].

    Raises:
        InputError: unknown split, bad syntax, a bound outside the split, or an empty slice.

    Examples:
        >>> parse_split("train[90%:]", {"train": 50})
        ('train', 45, 50)
    """
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise InputError(f"A split must look like `train` or `train[:90%]`. Received: {expression!r}.")
    name = match["name"]
    if name not in sizes:
        raise InputError(f"The split {unknown(name, sizes)}")
    size = sizes[name]
    start = _position(match["start"], 0, size, expression)
    stop = _position(match["stop"], size, size, expression)
    if start >= stop:
        raise InputError(f"A split must select at least one of the {size} images. Received: {expression!r}.")
    return name, start, stop


def _position(bound: str | None, default: int, size: int, expression: str) -> int:
    if bound is None:
        return default
    if bound.endswith("%"):
        limit, value = 100, int(bound[:-1])
    else:
        limit, value = size, int(bound)
    if abs(value) > limit:
        unit = "%" if limit == 100 and bound.endswith("%") else " images"
        raise InputError(f"A split's bounds must lie within {limit}{unit}. Received: {expression!r}.")
    offset = round(abs(value) * size / limit) if size else 0
    return size - offset if bound.startswith("-") else offset


def in_slice(index: tf.Tensor, size: int, start: int, stop: int) -> tf.Tensor:
    """Whether each example, `[N]` or scalar int64 indices, is in the part `start:stop` of the seeded order."""
    if (start, stop) == (0, size):
        return tf.ones_like(index, tf.bool)
    order = tf.random.experimental.index_shuffle(index, _ORDER_SEED, tf.constant(size - 1, index.dtype))
    return (order >= start) & (order < stop)


def members(size: int, start: int, stop: int) -> np.ndarray:
    """Indices on disk, ascending, of the examples in the part `start:stop` of the seeded order: `[stop - start]`."""
    return np.flatnonzero(in_slice(tf.range(size, dtype=tf.int64), size, start, stop))
