"""Vectors in fewer bits, each with its own scale."""

from __future__ import annotations

import numpy as np

from tfcontrastive.config import InputError, unknown

DTYPES = ("float32", "float16", "int8")

_LARGEST_FLOAT16 = 65504.0


def quantize(vectors: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """`vectors ~= stored * scale[:, None]`: int8 uses all 255 steps of each row; float16 scales only what overflows.

    The error of an int8 component is at most half a step, `max|row| / 254`.

    Args:
        vectors: `[N, D]` float32.
        dtype: float32 (stored as they are), float16 or int8.

    Returns:
        The stored `[N, D]` of that dtype, and the scale `[N]` float32.

    Raises:
        InputError: if the dtype is not one of the three, or a vector is not finite.

    Examples:
        >>> stored, scale = quantize(np.array([[1.0, -2.0]], np.float32), "int8")
        >>> stored.tolist()
        [[64, -127]]
    """
    if dtype not in DTYPES:
        raise InputError(f"`dtype` {unknown(dtype, DTYPES)}")
    largest = np.abs(vectors).max(axis=1, initial=0)
    if not np.isfinite(largest).all():
        row = int(np.argmin(np.isfinite(largest)))
        raise InputError(f"`vectors` must be finite. Received: NaN or infinity in row {row}.")
    scale = np.ones(len(vectors), np.float32)
    if dtype == "int8":
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        return np.clip(np.rint(vectors / scale[:, None]), -127, 127).astype(np.int8), scale
    if dtype == "float16":
        scale = np.maximum(1, largest / _LARGEST_FLOAT16).astype(np.float32)
    return (vectors / scale[:, None]).astype(dtype), scale


def dequantize(stored: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The float32 vectors `[N, D]` of what `quantize` gave."""
    return stored.astype(np.float32) * scale[:, None].astype(np.float32)
