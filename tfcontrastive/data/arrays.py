"""Images that are already arrays: `.npz` files and numpy arrays."""

from __future__ import annotations

import copy
import os
import zipfile
from collections.abc import Mapping

import numpy as np
from absl import logging

from tfcontrastive.config import InputError
from tfcontrastive.data.checks import as_bytes, class_numbers
from tfcontrastive.data.held_out import HELD_OUT, HeldOut
from tfcontrastive.data.opening import Opening, register_source
from tfcontrastive.data.slices import members, parse_split
from tfcontrastive.data.source import MOST_CLASSES, Source

# Names of the arrays of images and labels of each split: this package's own, and those of Keras' mnist.npz.
_KEYS = (
    ("train", "images", "labels"),
    ("train", "x_train", "y_train"),
    ("test", "x_test", "y_test"),
)


class ArraySource(Source):
    """Images held in memory as uint8 arrays, with any number of channels.

    Args:
        splits: of each split, images `[N, H, W]` or `[N, H, W, C]`, integers in 0..255 or floats in [0, 1] (kept with 8
            bits), and integer labels `[N]`, one-hot ones `[N, C]`, or None.
        class_names: names of the classes; without them there are max(label) + 1 classes.
        name: what to call it.

    Raises:
        InputError: shapes, types or values that do not fit.

    Examples:
        >>> source = ArraySource({"train": (np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3)})
        >>> source.num_classes, source.arrays("train")[0].shape
        (3, (6, 8, 8, 1))
    """

    def __init__(
        self,
        splits: Mapping[str, tuple[np.ndarray, np.ndarray | None]],
        *,
        class_names: tuple[str, ...] | None = None,
        name: str = "arrays",
    ):
        self.name = name
        self.splits = tuple(splits)
        self._images = {split: _checked_images(images, f"{name}: {split}") for split, (images, _) in splits.items()}
        channels = {images.shape[-1] for images in self._images.values()}
        if len(channels) != 1:
            raise InputError(f"{name}: all splits must have the same number of channels. Received: {sorted(channels)}.")
        self.channels = channels.pop()
        self._labels = {
            split: _checked_labels(labels, len(self._images[split]), class_names, f"{name}: {split}")
            for split, (_, labels) in splits.items()
        }
        self.class_names = class_names
        highest = max((labels.max(initial=-1) for labels in self._labels.values() if labels is not None), default=-1)
        self.num_classes = len(class_names) if class_names else int(highest) + 1 if highest >= 0 else None
        self.partly_labelled = any(
            labels is not None and labels.max(initial=-1) >= 0 and labels.min() < 0 for labels in self._labels.values()
        )

    @classmethod
    def from_npz(cls, path: str) -> ArraySource:
        """Reads an `.npz` file with `images` and `labels`, or `x_train`, `y_train`, `x_test` and `y_test`.

        Labels are optional, and so is `class_names`.

        Args:
            path: the file.

        Raises:
            InputError: no such file, not an `.npz`, no images in it, or images or labels that do not fit.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                content = {key: file[key] for key in file.files}
        except (OSError, ValueError, AttributeError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"`npz:` must name a readable .npz file. Received: {path!r} ({error}).") from error
        splits = {split: (content[x], content.get(y)) for split, x, y in _KEYS if x in content}
        if not splits:
            raise InputError(f"{path} must hold `images` or `x_train`. Received: {', '.join(content) or 'no arrays'}.")
        names = content.get("class_names")
        return cls(splits, class_names=tuple(map(str, names)) if names is not None else None, name=f"npz:{path}")

    def with_held_out(self, held_out: HeldOut) -> ArraySource:
        """The same images, some of `train` in a split of their own. Raises InputError: the list is of other images."""
        if "train" not in self.splits:
            raise InputError(f"`held_out` needs images in train. Received: {self.name} with {', '.join(self.splits)}.")
        kept, out = held_out.rows(len(self._images["train"]), self.name)
        other = copy.copy(self)
        other._images, other._labels = dict(self._images), dict(self._labels)
        for split, rows in ((HELD_OUT, out), ("train", kept)):
            labels = self._labels["train"]
            other._images[split] = self._images["train"][rows]
            other._labels[split] = None if labels is None else labels[rows]
        other.splits = tuple(other._images)
        return other

    def num_examples(self, split: str) -> int:
        _, start, stop = parse_split(split, self._sizes())
        return stop - start

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        name, start, stop = parse_split(split, self._sizes())
        images, labels = self._images[name], self._labels[name]
        if stop - start == len(images):
            return images, labels
        chosen = members(len(images), start, stop)
        return images[chosen], None if labels is None else labels[chosen]

    def _sizes(self) -> dict[str, int]:
        return {split: len(images) for split, images in self._images.items()}


def _checked_images(images: np.ndarray, where: str) -> np.ndarray:
    """The images as uint8 `[N, H, W, C]`."""
    checked = as_bytes(images, where)
    if np.issubdtype(images.dtype, np.floating):
        logging.info("%s: float images are kept with 8 bits.", where)
    return checked


def _checked_labels(labels, count: int, class_names, where: str) -> np.ndarray | None:
    """The labels as int32 `[N]`."""
    if labels is None:
        return None
    return class_numbers(labels, count, len(class_names) if class_names else MOST_CLASSES, where)


@register_source("npz")
def _open(path: str, _: Opening) -> ArraySource:
    source = ArraySource.from_npz(path)
    source.files = (os.path.abspath(path),)
    return source
