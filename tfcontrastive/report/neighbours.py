"""What the encoder takes for alike."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.markup import class_name, image_tags, paragraph, text


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """Query images, each followed by its nearest neighbours, framed by whether the class agrees.

    Args:
        title: the section's heading.
        queries: `[Q, H, W, C]`, uint8 or float in [0, 1].
        neighbours: `[Q, k, H, W, C]`, the nearest first.
        query_labels: `[Q]` integers; None where there are no labels.
        neighbour_labels: `[Q, k]` integers.
        similarities: `[Q, k]`, shown when pointed at.
        class_names: names of the classes; the numbers when not given.
        caption: a sentence under the heading.

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

    def __post_init__(self):
        shape = np.shape(self.neighbours)[:2]
        for name, want in {
            "queries": shape[:1],
            "query_labels": shape[:1],
            "neighbour_labels": shape,
            "similarities": shape,
        }.items():
            value = getattr(self, name)
            if value is not None and np.shape(value)[: len(want)] != want:
                raise InputError(f"`{name}` must begin with {want}, as `neighbours`. Received: {np.shape(value)}.")

    def html(self) -> str:
        return paragraph(self.caption) + "".join(self._row(query) for query in range(len(self.queries)))

    def _row(self, query: int) -> str:
        own = None if self.query_labels is None else int(self.query_labels[query])
        name = "query" if own is None else class_name(own, self.class_names)
        tag = image_tags(self.queries[query : query + 1], [name], side=72)[0]
        first = f'<figure class="query">{tag}<figcaption title="{text(name)}">{text(name)}</figcaption></figure>'
        captions = [self._caption(query, rank) for rank in range(len(self.neighbours[query]))]
        tags = image_tags(self.neighbours[query], captions, side=72)
        found = "".join(self._found(query, rank, own, tag) for rank, tag in enumerate(tags))
        return f'<div class="neighbours" style="--k:{min(10, len(tags))}">{first}<div class="found">{found}</div></div>'

    def _caption(self, query: int, rank: int) -> str:
        if self.neighbour_labels is None:
            return ""
        return class_name(int(self.neighbour_labels[query][rank]), self.class_names)

    def _found(self, query: int, rank: int, own: int | None, tag: str) -> str:
        name, kind, mark = self._caption(query, rank), "", ""
        if name and own is not None:
            same = int(self.neighbour_labels[query][rank]) == own
            # A mark besides the colour, for those who cannot tell green from red.
            kind, mark = ("same", "✓ ") if same else ("other", "✗ ")
        similarity = "" if self.similarities is None else f" similarity {self.similarities[query][rank]:.3f}"
        hover = text(f"{name}{',' if name and similarity else ''}{similarity}".strip())
        return f'<figure class="{kind}" title="{hover}">{tag}<figcaption>{mark}{text(name)}</figcaption></figure>'
