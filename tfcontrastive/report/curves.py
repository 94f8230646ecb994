"""Curves over training, drawn as SVG that takes the page's colours."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.markup import colour, paragraph, text

_WIDTH, _HEIGHT = 460, 270
_RIGHT, _TOP, _BOTTOM = 14, 12, 42
_LETTER = 8  # pixels
_MANY = 100  # points from which a noisy line is drawn faint, with its running mean over it
_NOISE = 0.005  # mean distance from the running mean, in parts of the range, from which a line is noisy
_POINTS_AT_MOST = 500
_HOVER_AT_MOST = 80


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
        x_label: the horizontal axis.
        format: a Python format specification for y, such as ".0%".
        log_x: a logarithmic horizontal axis, marked at the points themselves; for positive x.
        x_format: a Python format specification for the marks of a logarithmic axis.
    """

    title: str
    lines: Sequence[Line]
    x_label: str = "step"
    format: str = "g"
    log_x: bool = False
    x_format: str = "g"

    def svg(self) -> str:
        """The diagram, with a legend where there are several curves."""
        points = [np.array([line.x, line.y], np.float64) for line in self.lines]
        points = [line[:, np.isfinite(line[0])] for line in points]
        known = np.concatenate([line[:, np.isfinite(line[1])] for line in points], axis=1)
        if not known.shape[1]:
            return f'<figure class="chart"><figcaption>{text(self.title)}</figcaption><p>No values.</p></figure>'
        x_ticks = sorted(set(known[0])) if self.log_x else _ticks(known[0], 6)
        y_ticks = _ticks(known[1], 5)
        names = [_tick_label(tick, y_ticks, self.format) for tick in y_ticks]
        place = _Place(
            x_range=(known[0].min(), max(known[0].max(), known[0].min() + 1e-9)),
            y_range=(min(y_ticks[0], known[1].min()), max(y_ticks[-1], known[1].max())),
            left=14 + _LETTER * max(4, *map(len, names)),
            log_x=self.log_x,
        )
        body = [self._axes(place, x_ticks, dict(zip(names, y_ticks, strict=True)))]
        for index, (line, values) in enumerate(zip(self.lines, points, strict=True)):
            body.append(_curve(line, values, place, colour(index, len(self.lines)), self.format))
        shown = ", ".join(line.name for line in self.lines)
        return (
            f'<figure class="chart"><figcaption>{text(self.title)}</figcaption>'
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(f"{self.title}: {shown}")}">'
            f"{''.join(body)}</svg>{self._legend()}</figure>"
        )

    def _axes(self, place: _Place, x_ticks: list[float], y_ticks: dict[str, float]) -> str:
        bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = []
        for label, tick in y_ticks.items():
            y = place.y(tick)
            parts.append(f'<path class="grid" d="M{place.left} {y:.1f}H{right}"/>')
            parts.append(f'<text x="{place.left - 8}" y="{y + 4.5:.1f}" text-anchor="end">{text(label)}</text>')
        for tick in x_ticks:
            if not place.x_range[0] <= tick <= place.x_range[1]:
                continue
            label = format(tick, self.x_format) if self.log_x else _tick_label(tick, x_ticks, "g")
            parts.append(f'<text x="{place.x(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{text(label)}</text>')
        middle = (place.left + right) / 2
        parts.append(f'<text x="{middle}" y="{_HEIGHT - 5}" text-anchor="middle">{text(self.x_label)}</text>')
        return "".join(parts)

    def _legend(self) -> str:
        if len(self.lines) < 2:
            return ""
        items = "".join(
            f'<li><i class="{"dash" if line.dashed else "dot"}" style="--own:{colour(index, len(self.lines))}"></i>'
            f"{text(line.name)}</li>"
            for index, line in enumerate(self.lines)
        )
        return f'<ul class="legend">{items}</ul>'


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
        return f'{paragraph(self.caption)}<div class="charts">{"".join(chart.svg() for chart in self.charts)}</div>'


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
        return self.left + (value - low) / (high - low) * (_WIDTH - self.left - _RIGHT)

    def y(self, value):
        low, high = self.y_range
        return _HEIGHT - _BOTTOM - (value - low) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)


def _ticks(values: np.ndarray, count: int) -> list[float]:
    """About `count` round numbers over the range of some values; at least two."""
    low, high = float(values.min()), float(values.max())
    if high == low:
        low, high = low - abs(low) * 0.05 - 1e-3, high + abs(high) * 0.05 + 1e-3
    raw = (high - low) / count
    unit = 10 ** math.floor(math.log10(raw))
    step = next(unit * factor for factor in (1, 2, 5, 10) if unit * factor >= raw * 0.999)
    if np.all(values == np.round(values)):
        step = max(step, 1)  # there is no half epoch
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def _tick_label(tick: float, ticks: list[float], format_: str) -> str:
    step = ticks[1] - ticks[0]
    if format_.endswith("%"):
        return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9) - 2)}%}"
    if abs(ticks[-1]) >= 10_000:
        return f"{tick / 1000:g}k" if tick else "0"
    if max(abs(ticks[0]), abs(ticks[-1])) < 1e-3:
        return f"{tick:.2g}"
    return f"{tick:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def _curve(line: Line, values: np.ndarray, place: _Place, stroke: str, format_: str) -> str:
    dash = ' stroke-dasharray="6 5"' if line.dashed else ""
    if values.shape[1] < _MANY:
        return _path(values, place, f'class="curve" stroke="{stroke}"{dash}') + _dots(
            line, values, place, stroke, format_
        )
    mean = _running_mean(values)
    if _is_smooth(values, mean):
        return _path(_thinned(values), place, f'class="curve" stroke="{stroke}"{dash}')
    faint = _path(_thinned(values), place, f'class="faint" stroke="{stroke}"')
    return faint + _path(_thinned(mean), place, f'class="curve" stroke="{stroke}"{dash}')


def _path(values: np.ndarray, place: _Place, attributes: str) -> str:
    runs = itertools.groupby(values.T, key=lambda point: bool(np.isfinite(point[1])))
    steps = "".join(
        "M" + "L".join(f"{place.x(x):.1f} {place.y(y):.1f}" for x, y in run) for finite, run in runs if finite
    )
    return f'<path {attributes} d="{steps}"/>'


def _dots(line: Line, values: np.ndarray, place: _Place, stroke: str, format_: str) -> str:
    """Points that tell their value when pointed at; a lone one is drawn."""
    values = values[:, np.isfinite(values[1])]
    if values.shape[1] > _HOVER_AT_MOST or (line.dashed and values.shape[1] > 1):
        return ""
    kind = "lone" if values.shape[1] == 1 else "point"
    shown = ".2%" if format_.endswith("%") else ".4g"
    return "".join(
        f'<circle class="{kind}" cx="{place.x(x):.1f}" cy="{place.y(y):.1f}" r="5" fill="{stroke}">'
        f"<title>{text(f'{line.name}: {y:{shown}} at {x:g}')}</title></circle>"
        for x, y in values.T
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
