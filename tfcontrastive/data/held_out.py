"""Images that a run must not learn from, listed in a file: they are the split `held_out`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError

HELD_OUT = "held_out"
"""The name of their split."""


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """Which images of the split `train` are held out.

    Attributes:
        num_images: of the whole split.
        images: of a folder, their paths below it; of other sources, their numbers in the split, ascending.
        seed: of the choice.

    Examples:
        >>> HeldOut(10, (3, 7)).write("held_out.json")
        >>> HeldOut.read("held_out.json").images
        (3, 7)
    """

    num_images: int
    images: tuple[int, ...] | tuple[str, ...]
    seed: int = 0

    def write(self, path: str) -> None:
        """Writes the list, whole or not at all."""
        facts = {"format": 1, "split": "train", "num_images": self.num_images, "seed": self.seed}
        storage.write(path, json.dumps({**facts, "held_out": list(self.images)}, indent=1) + "\n")

    @classmethod
    def read(cls, path: str | os.PathLike) -> HeldOut:
        """Reads what `write` wrote.

        Raises:
            InputError: it cannot be read, or is no such list.
        """
        path = os.path.expanduser(os.fspath(path))
        try:
            stored = json.loads(storage.read_text(path))
            images, count = stored["held_out"], stored["num_images"]
            kinds = {type(image) for image in images}
            if stored["format"] != 1 or type(count) is not int or not images or kinds not in ({int}, {str}):
                raise ValueError("not a list of held-out images")
        except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
            reason = error.message if isinstance(error, tf.errors.OpError) else repr(error)
            raise InputError(
                f"`held_out` must be a list that `tfcontrastive fit` wrote. Received: {path!r}: {reason}."
            ) from error
        return cls(count, tuple(images), stored.get("seed", 0))

    def rows(self, count: int, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The numbers of the images to train on and of the held-out ones, of a source that has numbers.

        Raises:
            InputError: the list is of other images.
        """
        if count != self.num_images or not all(type(image) is int and 0 <= image < count for image in self.images):
            raise InputError(
                f"`held_out` must list images of {name}, which has {count:,} in train. Received: a list of "
                f"{len(self.images):,} of {self.num_images:,} others."
            )
        out = np.zeros(count, bool)
        out[list(self.images)] = True
        if out.all():
            raise InputError(f"`held_out` must leave an image to train on. Received: all {count} of {name}.")
        return np.flatnonzero(~out), np.flatnonzero(out)

    def files(self, files: Sequence[str], name: str) -> tuple[list[str], list[str]]:
        """The files to train on and the held-out ones, of a folder. Files that are gone are told of.

        Args:
            files: of the split `train`, below the folder.
            name: of the folder.

        Raises:
            InputError: no listed file is there, or no other one.
        """
        listed = set(self.images)
        kept, out = [file for file in files if file not in listed], [file for file in files if file in listed]
        if not kept or not out:
            raise InputError(
                f"`held_out` must list some of the images of {name}. Received: {len(out)} of its {len(files)} are listed."
            )
        if len(out) < len(listed):
            logging.warning("%s: %d held-out images are gone.", name, len(listed) - len(out))
        return kept, out
