"""Where the images to embed come from: pairs (id, image), from any position on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.data.encoded import EncodedSource
from tfcontrastive.data.folder import FolderSource
from tfcontrastive.data.paths import local_path
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.transcode import as_native, with_8_bits
from tfcontrastive.data.tree import image_files

Items = Callable[[int], Iterable[tuple[str, bytes | np.ndarray]]]
"""From a position on: (id, image), always the same ones. An image is a whole file as bytes, or preprocessed float32
`[S, S, C]` in [0, 1]. An attribute `fingerprint`, where there is one, tells whether a source has changed."""


def folder_items(
    folder: str | os.PathLike, split: str | None = None, *, rendering: Rendering | None = None
) -> Items:
    """The image files of a folder tree, sorted by name; ids are paths relative to it. `len` of it is their number.

    Args:
        folder: the folder; `~` is expanded.
        split: only the images of this split or expression, as `folder:` has them; None takes all there are.
        rendering: stretches 16-bit images by its range; None leaves them to the model.

    Raises:
        InputError: if there are none.
    """
    folder = local_path(folder)
    if split is None:
        names = image_files(folder)
    else:
        names = [os.path.relpath(path, folder) for path in FolderSource(folder).paths(split)]
    if not names:
        raise InputError(f"`folder` must hold images. Received: {folder}, without any.")
    return _FolderItems(folder, names, rendering or Rendering())


class _FolderItems:
    def __init__(self, folder: str, names: list[str], rendering: Rendering):
        self._folder, self._names, self._rendering = folder, names, rendering
        digest = hashlib.sha256("\n".join(names).encode(errors="surrogateescape")).hexdigest()
        stretched = f", {rendering.intensity_range}" if rendering.intensity_range else ""
        self.fingerprint = f"{len(names)} files, {digest[:16]}{stretched}"

    def __len__(self) -> int:
        return len(self._names)

    def __call__(self, start: int) -> Iterator[tuple[str, bytes]]:
        for name in self._names[start:]:
            try:
                with open(os.path.join(self._folder, name), "rb") as file:
                    yield name, _readable(file.read(), self._rendering)
            except OSError:
                yield name, b""  # listed as unreadable, like any damaged file


def encoded_items(source: EncodedSource, split: str, *, rendering: Rendering | None = None) -> Items:
    """The image files inside records or a tensorflow-datasets name; ids are the split and the position: `train/0`.

    Args:
        source: from `tfcontrastive.data.load`.
        split: name or expression.
        rendering: as of `folder_items`.
    """

    def items(start):
        files = source.references(split).skip(start).map(lambda reference, _: source.content(reference))
        for position, content in enumerate(files.as_numpy_iterator(), start):
            yield f"{split}/{position}", _readable(content, rendering or Rendering())

    return items


def _readable(content: bytes, rendering: Rendering) -> bytes:
    """A file that the signature `image_bytes` reads, where it can be made one; what it cannot read is listed there."""
    try:
        return with_8_bits(as_native(content), rendering)
    except ValueError:
        return content


def dataset_items(batches: Callable[[], tf.data.Dataset], prefix: str = "") -> Items:
    """The images of evaluation batches `{"image": [B, S, S, C]}`; ids are `prefix` and the position.

    Args:
        batches: makes the data set, the same each time.
        prefix: for example `test/`.
    """

    def items(start):
        images = batches().map(lambda batch: batch["image"]).unbatch().skip(start)
        for position, image in enumerate(images.as_numpy_iterator(), start):
            yield f"{prefix}{position}", image

    return items
