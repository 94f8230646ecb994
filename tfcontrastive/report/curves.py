"""Curves over training, drawn as SVG that takes the page's colours."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.palette import colour, mark
from tfcontrastive.report.template import render
from tfcontrastive.report.ticks import tick_label, ticks

_WIDTH, _HEIGHT = 460, 280
_RIGHT, _TOP, _BOTTOM = 16, 26, 44
_LETTER = 9.5  # pixels, of the larger text on a phone
_MANY = 100  # points from which a noisy line is drawn faint, with its running mean over it
_NOISE = 0.005  # mean distance from the running mean, in parts of the range, from which a line is noisy
_POINTS_AT_MOST = 500
_HOVER_AT_MOST = 80
_MARKED_AT_MOST = 8


@dataclasses.dataclass(frozen=True)
class Line:
    """One curve: its name and its points; NaN leaves a gap. `dashed` is for what others are compared with."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dashed: bool = False

    def __post_init__(self):
        if len(self.x) != len(self.y):
            raise InputError(f"`x` and `y` of {self.name} must be as long. Received: {len(self.x)} and {len(self.y)}.")


@dataclasses.dataclass(frozen=True)
class Chart:
    """One diagram: curves that share their axes.

    Args:
        title: what it shows.
        lines: the curves.
        x_label, y_label: what the axes show, with the unit where there is one.
        format: a Python format specification for y, such as ".0%".
        log_x: a logarithmic horizontal axis, marked at the points themselves; for positive x.
        x_format: a Python format specification for the marks of a logarithmic axis.
        include: values that the vertical axis must reach, such as 0 where a small change must not look like a collapse.
        levels: names and values of dashed lines all across, such as chance.
    """

    title: str
    lines: Sequence[Line]
    x_label: str = "step"
    format: str = "g"
    log_x: bool = False
    x_format: str = "g"
    y_label: str = ""
    include: Sequence[float] = ()
    levels: Sequence[tuple[str, float]] = ()

    def svg(self) -> str:
        """The diagram, with a legend where there are several curves."""
        points = [np.array([line.x, line.y], np.float64) for line in self.lines]
        points = [line[:, np.isfinite(line[0])] for line in points]
        known = np.concatenate([np.empty([2, 0]), *(line[:, np.isfinite(line[1])] for line in points)], axis=1)
        if not known.shape[1]:
            return render("chart.html", chart=self, drawn=None)
        x, y = known[0], np.concatenate([known[1], self.include, [value for _, value in self.levels]])
        x_ticks, y_ticks = sorted(set(x)) if self.log_x else ticks(x, 5, inside=True), ticks(y, 5)
        names = [tick_label(tick, y_ticks, self.format) for tick in y_ticks]
        place = _Place(
            x_range=(x.min(), max(x.max(), x.min() + 1e-9)),
            y_range=(y_ticks[0], y_ticks[-1]),
            left=14 + _LETTER * max(4, *map(len, names)),
            log_x=self.log_x,
        )
        curves = []
        for index, (line, values) in enumerate(zip(self.lines, points, strict=True)):
            curves.append(_curve(index, line, values, place, self.format))
        levels = [(name, place.y(value), format(value, _precise(self.format))) for name, value in self.levels]
        drawn = {
            "width": _WIDTH,
            "height": _HEIGHT,
            "left": place.left,
            "right": _WIDTH - _RIGHT,
            "bottom": _HEIGHT - _BOTTOM,
            "across": [(place.y(tick), name) for tick, name in zip(y_ticks, names, strict=True)],
            "along": [(place.x(tick), self._x_label(tick, x_ticks)) for tick in x_ticks if tick <= place.x_range[1]],
            "curves": curves,
            "levels": levels,
            "says": ", ".join([*(line.name for line in self.lines), *(name for name, _ in self.levels)]),
        }
        return render("chart.html", chart=self, drawn=drawn, swatch=mark)

    def _x_label(self, tick: float, x_ticks: list[float]) -> str:
        return format(tick, self.x_format) if self.log_x else tick_label(tick, x_ticks, "g")


@dataclasses.dataclass(frozen=True)
class Curves:
    """Diagrams side by side.

    Args:
        title: the section's heading.
        charts: the diagrams.
        caption: a sentence under the heading.
    """

    title: str
    charts: Sequence[Chart]
    caption: str = ""

    def html(self) -> str:
        return render("curves.html", caption=self.caption, charts=[chart.svg() for chart in self.charts])


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a value lies on the drawing."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    left: float
    log_x: bool = False

    def x(self, value):
        low, high = self.x_range
        if self.log_x:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.left + (value - low) / max(high - low, 1e-12) * (_WIDTH - self.left - _RIGHT)

    def y(self, value):
        low, high = self.y_range
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _curve(index: int, line: Line, values: np.ndarray, place: _Place, format_: str) -> dict[str, Any]:
    """What is drawn of a line: paths of its values, and points that tell theirs or, of many, mark the line."""
    found = {"index": index, "name": line.name, "dashed": line.dashed, "stroke": colour(index), "faint": ""}
    many = values.shape[1] >= _MANY
    mean = _running_mean(values) if many else values
    if many and not _is_smooth(values, mean):
        found["faint"] = _path(_thinned(values), place)
        found["path"] = _path(_thinned(mean), place)
    else:
        mean = values
        found["path"] = _path(_thinned(values) if many else values, place)
    seen = mean[:, np.isfinite(mean[1])]
    few = seen if seen.shape[1] <= _HOVER_AT_MOST else seen[:, :0]
    found["points"] = [
        (f"{place.x(x):.1f}", f"{place.y(y):.1f}", f"{line.name}: {y:{_precise(format_)}} at {x:g}") for x, y in few.T
    ]
    found["marks"] = [(f"{place.x(x):.1f}", f"{place.y(y):.1f}") for x, y in seen[:, _spread(seen[0], index)].T]
    return found


def _spread(x: np.ndarray, index: int) -> list[int]:
    """Which points carry a mark: all of few, else about six, at other places on every line."""
    if len(x) <= _MARKED_AT_MOST:
        return list(range(len(x)))
    low, high = x.min(), x.max()
    wanted = low + (high - low) * (np.arange(_MARKED_AT_MOST - 2) + 0.3 + 0.13 * (index % 5)) / (_MARKED_AT_MOST - 2)
    return sorted({int(np.abs(x - one).argmin()) for one in wanted})


def _precise(format_: str) -> str:
    return ".2%" if format_.endswith("%") else ".4g"


def _path(values: np.ndarray, place: _Place) -> str:
    runs = itertools.groupby(values.T, key=lambda point: bool(np.isfinite(point[1])))
    return "".join(
        "M" + "L".join(f"{place.x(x):.1f} {place.y(y):.1f}" for x, y in run) for finite, run in runs if finite
    )


def _running_mean(values: np.ndarray) -> np.ndarray:
    """The mean over a window of a fortieth of the points, shorter at the ends, without the gaps."""
    x, y = values[:, np.isfinite(values[1])]
    half = max(1, len(y) // 80)
    total = np.concatenate([[0], np.cumsum(y)])
    index = np.arange(len(y))
    first, last = np.maximum(index - half, 0), np.minimum(index + half + 1, len(y))
    return np.array([x, (total[last] - total[first]) / (last - first)])


def _is_smooth(values: np.ndarray, mean: np.ndarray) -> bool:
    y = values[1, np.isfinite(values[1])]
    return bool(np.mean(np.abs(y - mean[1])) <= _NOISE * np.ptp(y))


def _thinned(values: np.ndarray) -> np.ndarray:
    step = math.ceil(values.shape[1] / _POINTS_AT_MOST)
    keep = np.unique(np.append(np.arange(0, values.shape[1], step), values.shape[1] - 1))
    return values[:, keep]
