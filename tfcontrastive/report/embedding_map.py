"""The embedding seen from above."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.palette import MARKS, colour, mark
from tfcontrastive.report.pictures import class_name, data_uri, sheet
from tfcontrastive.report.template import data_block, render
from tfcontrastive.system.names import escaped

_WIDTH, _HEIGHT, _MARGIN = 900, 620, 16
_TILE = 32  # a multiple of JPEG's blocks, so that neighbours do not bleed into each other
_LARGE_TILE, _LARGE_TILES_AT_MOST = 64, 2000
_POINTS_AT_MOST = 10_000
_LEGEND_AT_MOST = 56
_NEIGHBOURS = 8
_LAYERS = 4  # in which the static drawing mixes the classes: else the last would hide the others


@dataclasses.dataclass(frozen=True)
class EmbeddingMap:
    """Points in the plane, marked by class: pointed at, each shows its image; on a click, its nearest; a rectangle lists.

    Args:
        title: the section's heading.
        points: `[N, 2]`, for instance from `tfcontrastive.evaluate.map_2d`; at most 10,000.
        labels: `[N]` integers, those below 0 without a class; None where there are no labels.
        class_names: names of the classes; the numbers when not given.
        images: `[N, H, W, C]`, or N images of any size, uint8 or float in [0, 1]; None shows no images.
        caption: a sentence under the heading.
        names: `[N]` files, by which a rectangle is listed; the numbers when not given.
        neighbours: `[N, k]` rows of the same points, the nearest first; None takes those that are nearest on the map.
        similarities: `[N, k]` of the neighbours.
    """

    title: str
    points: np.ndarray
    labels: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    images: np.ndarray | Sequence[np.ndarray] | None = None
    caption: str = ""
    names: Sequence[str] | None = None
    neighbours: np.ndarray | None = None
    similarities: np.ndarray | None = None

    def __post_init__(self):
        shape = np.shape(self.points)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != 2 or not np.isfinite(self.points).all():
            raise InputError(f"`points` must be a finite array [N, 2]. Received: shape {shape}.")
        if shape[0] > _POINTS_AT_MOST:
            raise InputError(
                f"`points` must be at most {_POINTS_AT_MOST:,}. Received: {shape[0]:,}; choose some of them."
            )
        for name in ("labels", "images", "names", "neighbours", "similarities"):
            value = getattr(self, name)
            if value is not None and len(value) != shape[0]:
                raise InputError(f"`{name}` must have one row for each of {shape[0]} points. Received: {len(value)}.")
        if self.neighbours is not None and not self._are_rows(np.asarray(self.neighbours), shape[0]):
            raise InputError(f"`neighbours` must be rows [N, k] in [0, {shape[0]}). Received: another one.")

    @staticmethod
    def _are_rows(rows: np.ndarray, count: int) -> bool:
        return rows.ndim == 2 and (not rows.size or (rows.min() >= 0 and rows.max() < count))

    def html(self) -> str:
        labels = np.full(len(self.points), -1) if self.labels is None else np.asarray(self.labels)
        classes = [int(label) for label in np.unique(labels)]
        kinds = np.searchsorted(classes, labels)
        names = ["" if self.labels is None else class_name(label, self.class_names) for label in classes]
        places = self._places()
        radius = min(5.0, max(2.4, 130 / math.sqrt(len(places))))
        legend = [
            {"index": index, "name": name, "count": int(np.sum(kinds == index)), "colour": colour(index)}
            for index, name in enumerate(names)
        ]
        return render(
            "map.html",
            one=self,
            width=_WIDTH,
            height=_HEIGHT,
            layers=self._layers(places, kinds, radius),
            legend=legend if self.labels is not None and len(classes) <= _LEGEND_AT_MOST else [],
            classes=len(classes),
            swatch=mark,
            data=data_block(self._data(places, kinds, names, radius)),
        )

    def _places(self) -> np.ndarray:
        """The points on the drawing, one scale for both axes."""
        points = np.asarray(self.points, np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        size = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
        scale = float(np.min(size / np.maximum(high - low, 1e-9)))
        return (points - (low + high) / 2) * [scale, -scale] + [_WIDTH / 2, _HEIGHT / 2]

    def _layers(self, places: np.ndarray, kinds: np.ndarray, radius: float) -> list[tuple[int, str, str]]:
        """The picture that stays where no script runs and on paper: (class, colour, path), in mixed order."""
        order = np.random.default_rng(0).permutation(len(places))
        layers = []
        for some in np.array_split(order, _LAYERS):
            for kind in np.unique(kinds[some]):
                shape = mark(int(kind), radius)
                rows = some[kinds[some] == kind]
                path = "".join(f"M{places[row, 0]:.1f} {places[row, 1]:.1f}{shape}" for row in rows)
                layers.append((int(kind), colour(int(kind)), path))
        return layers

    def _data(self, places: np.ndarray, kinds: np.ndarray, names: list[str], radius: float) -> dict[str, Any]:
        found: dict[str, Any] = {
            "width": _WIDTH,
            "height": _HEIGHT,
            "radius": round(radius, 2),
            "marks": [mark(index, radius) for index in range(MARKS)],
            "places": np.round(places, 1).tolist(),
            "classes": kinds.tolist(),
            "names": names,
            "files": None if self.names is None else [escaped(str(name)) for name in self.names],
            "nearest": _NEIGHBOURS,
            "neighbours": None if self.neighbours is None else np.asarray(self.neighbours).tolist(),
            "similarities": None,
        }
        if self.similarities is not None:
            found["similarities"] = np.round(np.asarray(self.similarities, np.float64), 3).tolist()
        if self.images is not None:
            fine = len(self.images) <= _LARGE_TILES_AT_MOST and max(np.shape(one)[0] for one in self.images) > _TILE
            tile = _LARGE_TILE if fine else _TILE
            whole = sheet(self.images, tile)
            found |= {"across": whole.width // tile, "down": whole.height // tile}
            found |= {"sprite": data_uri(whole, "JPEG", quality=80)}
        return found
