"""Round numbers along an axis."""

from __future__ import annotations

import math

import numpy as np


def ticks(values: np.ndarray, count: int, *, inside: bool = False) -> list[float]:
    """About `count` round numbers over the range of some values, at least two; the first and last enclose them all.

    Args:
        values: `[N]` finite.
        count: how many steps there may be at most.
        inside: True ends with the last round numbers that lie within the range.
    """
    low, high = float(values.min()), float(values.max())
    if high == low:
        low, high = low - abs(low) * 0.05 - 1e-3, high + abs(high) * 0.05 + 1e-3
    raw = (high - low) / count
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
    if np.all(values == np.round(values)):
        step = max(step, 1)  # there is no half epoch
    if inside:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    else:
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def tick_label(tick: float, marks: list[float], format_: str) -> str:
    """A tick as it should read: as many decimals as tell it from its neighbours."""
    step = marks[1] - marks[0]
    if format_.endswith("%"):
        return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9) - 2)}%}"
    if abs(marks[-1]) >= 10_000:
        return f"{tick / 1000:g}k" if tick else "0"
    if max(abs(marks[0]), abs(marks[-1])) < 1e-3:
        return f"{tick:.2g}"
    return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
