"""The embedding seen from above."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.thumbnails import sprite_sheet
from tfcontrastive.report.markup import class_name, colour, data_uri, paragraph, text

_WIDTH, _HEIGHT, _MARGIN = 900, 620, 14
_TILE = 32  # a multiple of JPEG's blocks, so that neighbours do not bleed into each other
_LEGEND_AT_MOST = 40


@dataclasses.dataclass(frozen=True)
class EmbeddingMap:
    """Points in the plane, coloured by class; each shows its image when pointed at.

    Args:
        title: the section's heading.
        points: `[N, 2]`, for instance from `tfcontrastive.evaluate.map_2d`.
        labels: `[N]` integers; None where there are no labels.
        class_names: names of the classes; the numbers when not given.
        images: `[N, H, W, C]`, uint8 or float in [0, 1]; None shows no images.
        caption: a sentence under the heading.
    """

    title: str
    points: np.ndarray
    labels: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    images: np.ndarray | None = None
    caption: str = ""

    def __post_init__(self):
        shape = np.shape(self.points)
        if len(shape) != 2 or shape[0] < 1 or shape[1] != 2 or not np.isfinite(self.points).all():
            raise InputError(f"`points` must be a finite array [N, 2]. Received: shape {shape}.")
        for name in ("labels", "images"):
            value = getattr(self, name)
            if value is not None and len(value) != shape[0]:
                raise InputError(f"`{name}` must have one row for each of {shape[0]} points. Received: {len(value)}.")

    def html(self) -> str:
        labels = np.zeros(len(self.points), int) if self.labels is None else np.asarray(self.labels)
        classes = [int(label) for label in np.unique(labels)]
        names = {label: "" if self.labels is None else class_name(label, self.class_names) for label in classes}
        colours = {label: colour(index, len(classes)) for index, label in enumerate(classes)}
        places = self._places()
        radius = min(5.5, max(2.2, 120 / math.sqrt(len(places))))
        # Drawn in random order: else the last class would hide the others.
        order = np.random.default_rng(0).permutation(len(places))
        dots = "".join(
            f'<circle cx="{places[i, 0]:.1f}" cy="{places[i, 1]:.1f}" r="{radius:.1f}" '
            f'data-i="{i}" data-c="{classes.index(int(labels[i]))}" fill="{colours[int(labels[i])]}"/>'
            for i in order
        )
        return (
            f'{paragraph(self.caption)}<div class="map"{self._data(places, labels, names, classes)}>'
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(self.title)}">{dots}</svg>'
            f'<div class="tip" hidden><span></span><b></b></div></div>{self._legend(classes, names, colours)}'
        )

    def _places(self) -> np.ndarray:
        """The points on the drawing, one scale for both axes."""
        points = np.asarray(self.points, np.float64)
        low, high = points.min(axis=0), points.max(axis=0)
        size = np.array([_WIDTH, _HEIGHT]) - 2 * _MARGIN
        scale = float(np.min(size / np.maximum(high - low, 1e-9)))
        return (points - (low + high) / 2) * [scale, -scale] + [_WIDTH / 2, _HEIGHT / 2]

    def _data(self, places, labels, names, classes) -> str:
        rows = [classes.index(int(label)) for label in labels]
        known = {"names": [names[label] for label in classes], "classes": rows, "tile": _TILE}
        known["places"] = np.round(places, 1).tolist()
        if self.images is not None:
            sheet = sprite_sheet(self.images, _TILE)
            known |= {"across": sheet.width // _TILE, "sprite": data_uri(sheet, "JPEG", quality=85)}
        return f' data-map="{text(json.dumps(known, separators=(",", ":")))}"'

    def _legend(self, classes, names, colours) -> str:
        if self.labels is None:
            return ""
        if len(classes) > _LEGEND_AT_MOST:
            return f"<p>{len(classes)} classes; point at a dot to read its own.</p>"
        items = "".join(
            f'<li><button data-c="{index}"><i class="dot" style="--own:{colours[label]}"></i>{text(names[label])}'
            "</button></li>"
            for index, label in enumerate(classes)
        )
        return f'<ul class="legend classes">{items}</ul>'
