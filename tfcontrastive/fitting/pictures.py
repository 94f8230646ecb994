"""Small pictures of single images of a source, for pages: whole files are decoded only where they are shown."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from tfcontrastive.data import FolderSource, Source
from tfcontrastive.data.images import decode
from tfcontrastive.evaluate import displayable
from tfcontrastive.evaluate.thumbnails import shrunk

SIDE = 96


class Pictures:
    """Pictures by number, over several splits in order.

    Args:
        source: of any kind.
        splits: names or expressions.
        limit: images of a split that count.
    """

    def __init__(self, source: Source, splits: Sequence[str], limit: int):
        self._source, self._splits = source, list(splits)
        self._counts = [min(source.num_examples(split), limit) for split in splits]

    def __len__(self) -> int:
        return sum(self._counts)

    def of(self, rows: Sequence[int]) -> list[np.ndarray]:
        """uint8 `[h, w, 3]` of each, at most 96 pixels a side."""
        found: dict[int, np.ndarray] = {}
        first = 0
        for split, count in zip(self._splits, self._counts, strict=True):
            own = sorted({int(row) - first for row in rows if first <= row < first + count})
            if own:
                pictures = self._of_split(split, own)
                found |= {first + row: picture for row, picture in zip(own, pictures, strict=True)}
            first += count
        return [found[int(row)] for row in rows]

    def square(self, rows: Sequence[int], side: int) -> np.ndarray:
        """uint8 `[N, side, side, 3]`, their middles, for what takes one size."""
        return (
            np.stack([_square(picture, side) for picture in self.of(rows)])
            if len(rows)
            else np.empty([0, side, side, 3])
        )

    def _of_split(self, split: str, rows: list[int]) -> list[np.ndarray]:
        held = self._source.arrays(split)
        if held is not None:
            return [_small(image) for image in held[0][rows]]
        if isinstance(self._source, FolderSource):
            paths = self._source.paths(split)
            return [self._of_file(paths[row]) for row in rows]
        wanted, found = set(rows), []
        for row, (reference, _) in enumerate(self._source.references(split).take(rows[-1] + 1)):
            if row in wanted:
                found.append(self._decoded(self._source.read(reference)))
        return found

    def _of_file(self, path: str) -> np.ndarray:
        with open(path, "rb") as file:
            content = file.read()
        if content.startswith(b"\xff\xd8"):  # a JPEG is decoded to a part of its size at once
            with Image.open(io.BytesIO(content)) as image:
                image.draft("RGB", (2 * SIDE, 2 * SIDE))
                return _small(np.asarray(image.convert("RGB")))
        return self._decoded(self._source.read(path.encode("utf-8", "surrogateescape")))

    def _decoded(self, content: tf.Tensor) -> np.ndarray:
        return _small(decode(content, self._source.channels, self._source.rendering).numpy())


def _small(image: np.ndarray) -> np.ndarray:
    return np.asarray(shrunk(displayable(image[None])[0], SIDE))


def _square(image: np.ndarray, side: int) -> np.ndarray:
    height, width, _ = image.shape
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    middle = Image.fromarray(image[top : top + edge, left : left + edge])
    return np.asarray(middle if edge == side else middle.resize((side, side), Image.Resampling.LANCZOS))
