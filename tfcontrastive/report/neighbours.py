"""What the encoder takes for alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.gallery import PictureRows
from tfcontrastive.report.pictures import Picture, class_name
from tfcontrastive.system.names import escaped


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Query images, each followed by its nearest neighbours, framed by whether the class agrees.

    Args:
        title: the section's heading.
        queries: `[Q, H, W, C]`, uint8 or float in [0, 1].
        neighbours: `[Q, k, H, W, C]`, the nearest first.
        query_labels: `[Q]` integers; None where there are no labels.
        neighbour_labels: `[Q, k]` integers.
        similarities: `[Q, k]`, cosines.
        class_names: names of the classes; the numbers when not given.
        caption: a sentence under the heading.
        query_names, neighbour_names: `[Q]` and `[Q][k]` names of files, shown where there are no labels.

    Examples:
        >>> images, labels = np.zeros([6, 28, 28, 1]), np.arange(6) % 2
        >>> similarities, rows = tfcontrastive.evaluate.nearest_neighbours(np.eye(6), np.eye(6), k=3)
        >>> section = Neighbours("Nearest neighbours", images, images[rows], labels, labels[rows], similarities)
    """

    title: str
    queries: np.ndarray
    neighbours: np.ndarray
    query_labels: np.ndarray | None = None
    neighbour_labels: np.ndarray | None = None
    similarities: np.ndarray | None = None
    class_names: Sequence[str] | None = None
    caption: str = ""
    query_names: Sequence[str] | None = None
    neighbour_names: Sequence[Sequence[str]] | None = None

    def __post_init__(self):
        shape = len(self.neighbours), len(self.neighbours[0]) if len(self.neighbours) else 0
        for name, want in {
            "queries": shape[:1],
            "query_labels": shape[:1],
            "neighbour_labels": shape,
            "similarities": shape,
        }.items():
            value = getattr(self, name)
            if value is not None and (len(value), *np.shape(value)[1:])[: len(want)] != want:
                raise InputError(f"`{name}` must begin with {want}, as `neighbours`. Received: {np.shape(value)}.")

    def html(self) -> str:
        rows = [(self._query(query), self._found(query)) for query in range(len(self.queries))]
        return PictureRows(self.title, rows, self.caption).html()

    def _query(self, query: int) -> Picture:
        name = "query" if self.query_names is None else escaped(self.query_names[query])
        if self.query_labels is not None:
            name = class_name(int(self.query_labels[query]), self.class_names)
        return Picture(self.queries[query], name, kind="query", alt=f"query: {name}")

    def _found(self, query: int) -> list[Picture]:
        pictures = []
        for rank, image in enumerate(self.neighbours[query]):
            name = "" if self.neighbour_names is None else escaped(self.neighbour_names[query][rank])
            kind = ""
            if self.neighbour_labels is not None:
                label = int(self.neighbour_labels[query][rank])
                name = class_name(label, self.class_names)
                if self.query_labels is not None:
                    kind = "same" if label == int(self.query_labels[query]) else "other"
            detail = "" if self.similarities is None else f"{self.similarities[query][rank]:.3f}"
            pictures.append(Picture(image, name, detail, kind, alt=f"neighbour {rank + 1}: {name}"))
        return pictures
