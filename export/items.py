"""Where the images to embed come from: pairs (id, image), from any position on."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping

import tensorflow as tf

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.data import Source
from tfcontrastive.data.encoded import EncodedSource
from tfcontrastive.data.folder import EXTENSIONS, file_labels, image_files
from tfcontrastive.export.shards import Label
from tfcontrastive.names import escaped

Items = Callable[[int], Iterable[tuple]]
"""From a position on: (id, image) or (id, image, label), always the same ones.

An image is a whole file as bytes, preprocessed float32 `[S, S, C]` in [0, 1], or the OSError of a file that cannot be
read. Three attributes are looked for: `fingerprint`, a text that changes when the source does; `stamps`, the same for
each item by its id; and `labels`: name or number where the items have labels of that kind, else None.
"""


def folder_items(folder: str | os.PathLike, *, content_hash: bool = False) -> Items:
    """The image files of a folder tree, sorted by name; ids are paths relative to it. `len` of it is their number.

    Labels are the names of the classes, by the rule of `FolderSource`.

    Args:
        folder: any tree of images.
        content_hash: whether a file counts as changed when its content does, which reads all files once, or when its
            size or time of change does.

    Raises:
        InputError: if there are none.
    """
    folder = os.fspath(folder)
    names = image_files(folder)
    if not names:
        raise InputError(f"`folder` must hold images ({', '.join(EXTENSIONS)}). Received: {folder}, without any.")
    stamp = _content_stamp if content_hash else storage.stamp
    stamps = {name: stamp(os.path.join(folder, name)) for name in names}
    labels = file_labels(folder, names)

    def items(start):
        for position, name in enumerate(names[start:], start):
            yield name, _content(os.path.join(folder, name)), labels[position] if labels else None

    how = "content" if content_hash else "size and time"
    return _Items(items, stamps, f"{len(names)} files by {how}", "name" if labels else None)


def encoded_items(source: EncodedSource, split: str) -> Items:
    """The image files inside records or a tensorflow-datasets name; ids are the split and the position: `train/0`.

    Args:
        source: from `tfcontrastive.data.load`.
        split: name or expression.
    """

    def items(start):
        files = source.references(split).skip(start).map(lambda reference, label: (source.read(reference), label))
        for position, (content, label) in enumerate(files.as_numpy_iterator(), start):
            yield f"{split}/{position}", content, _label(source, label)

    return _of_source(items, source)


def dataset_items(batches: Callable[[], tf.data.Dataset], prefix: str = "", *, source: Source | None = None) -> Items:
    """The images of evaluation batches `{"image": [B, S, S, C], ...}`; ids are `prefix` and the position.

    Args:
        batches: makes the data set, the same each time.
        prefix: for example `test/`.
        source: where the batches are from, if its labels and the state of its files are to be kept: then the batches
            have a `label`.
    """

    def items(start):
        for position, example in enumerate(batches().unbatch().skip(start).as_numpy_iterator(), start):
            label = None if source is None else _label(source, example["label"])
            yield f"{prefix}{position}", example["image"], label

    return items if source is None else _of_source(items, source)


class _Items:
    """Items with what is known of them."""

    def __init__(self, items: Callable[[int], Iterator], stamps: Mapping[str, str], what: str, labels: str | None):
        self._items, self.stamps, self.labels = items, stamps, labels
        lines = "".join(f"{escaped(name)}\t{stamp}\n" for name, stamp in stamps.items())
        self.fingerprint = f"{what}, {hashlib.sha256(lines.encode()).hexdigest()[:16]}" if stamps else None

    def __len__(self) -> int:
        return len(self.stamps)

    def __call__(self, start: int) -> Iterator:
        return self._items(start)


def _of_source(items: Callable[[int], Iterator], source: Source) -> _Items:
    stamps = {file: storage.stamp(file) for file in source.files}
    labels = None if source.num_classes is None else "name" if source.class_names else "number"
    return _Items(items, stamps, f"{len(stamps)} files by size and time", labels)


def _label(source: Source, label: int) -> Label:
    if source.num_classes is None or label < 0:
        return None
    return source.class_names[label] if source.class_names else int(label)


def _content(path: str) -> bytes | OSError:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return error


def _content_stamp(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return error.strerror
