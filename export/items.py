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
from tfcontrastive.data.folder import FolderSource
from tfcontrastive.data.paths import local_path
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.transcode import as_native, with_8_bits
from tfcontrastive.data.tree import file_classes, image_files
from tfcontrastive.export.shards import Label
from tfcontrastive.system.names import escaped

Items = Callable[[int], Iterable[tuple]]
"""From a position on: (id, image) or (id, image, label), always the same ones.

An image is a whole file as bytes, preprocessed float32 `[S, S, C]` in [0, 1], or the OSError of a file that cannot be
read. Three attributes are looked for: `fingerprint`, a text that changes when the source does; `stamps`, the same for
each item by its id; and `labels`: name or number where the items have labels of that kind, else None.
"""


def folder_items(
    folder: str | os.PathLike,
    split: str | None = None,
    *,
    rendering: Rendering | None = None,
    content_hash: bool = False,
) -> StampedItems:
    """The image files of a folder tree, sorted by name; ids are paths relative to it. `len` of it is their number.

    Labels are the names of the classes, by the rule of `FolderSource`.

    Args:
        folder: any tree of images; `~` is expanded.
        split: only the images of this split or expression, as `folder:` has them; None takes all there are.
        rendering: stretches 16-bit images by its range; None leaves them to the model.
        content_hash: whether a file counts as changed when its content does, which reads all files once, or when its
            size or time of change does.

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
    stamp = _content_stamp if content_hash else storage.stamp
    stamps = {name: stamp(os.path.join(folder, name)) for name in names}
    labels = file_classes(folder)

    def items(start):
        for name in names[start:]:
            yield name, _readable(_content(os.path.join(folder, name)), rendering), labels.get(name)

    how = "content" if content_hash else "size and time"
    return StampedItems(items, stamps, f"{len(names)} files by {how}", "name" if labels else None, rendering)


def encoded_items(source: EncodedSource, split: str, *, rendering: Rendering | None = None) -> StampedItems:
    """The image files inside records or a tensorflow-datasets name; ids are the split and the position: `train/0`.

    Args:
        source: from `tfcontrastive.data.load`.
        split: name or expression.
        rendering: as of `folder_items`.
    """

    def items(start):
        files = source.references(split).skip(start).map(lambda reference, label: (source.content(reference), label))
        for position, (content, label) in enumerate(files.as_numpy_iterator(), start):
            yield f"{split}/{position}", _readable(content, rendering), _label(source, label)

    return _of_source(items, source, rendering)


def _readable(content: bytes | OSError, rendering: Rendering | None) -> bytes | OSError:
    """A file that the signature `image_bytes` reads, where it can be made one; what it cannot read is listed there."""
    if isinstance(content, OSError):
        return content
    try:
        return with_8_bits(as_native(content), rendering or Rendering())
    except ValueError:
        return content


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


class StampedItems:
    """`Items` with what is known of them; `len` is the number of their stamps."""

    def __init__(
        self,
        items: Callable[[int], Iterator],
        stamps: Mapping[str, str],
        what: str,
        labels: str | None,
        rendering: Rendering | None = None,
    ):
        self._items, self.stamps, self.labels = items, stamps, labels
        if rendering is not None and rendering.intensity_range:
            what += f" in {rendering.intensity_range}"
        lines = "".join(f"{escaped(name)}\t{stamp}\n" for name, stamp in stamps.items())
        self.fingerprint = f"{what}, {hashlib.sha256(lines.encode()).hexdigest()[:16]}" if stamps else None

    def __len__(self) -> int:
        return len(self.stamps)

    def __call__(self, start: int) -> Iterator:
        return self._items(start)


def _of_source(items: Callable[[int], Iterator], source: Source, rendering: Rendering | None = None) -> StampedItems:
    stamps = {file: storage.stamp(file) for file in source.files}
    labels = None if source.num_classes is None else "name" if source.class_names else "number"
    return StampedItems(items, stamps, f"{len(stamps)} files by size and time", labels, rendering)


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
