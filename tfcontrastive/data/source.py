"""What the pipeline needs to know of a data set."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING

import numpy as np

from tfcontrastive.data.image_spec import ImageSpec
from tfcontrastive.data.rendering import Rendering

if TYPE_CHECKING:
    import tensorflow as tf

MOST_CLASSES = 1_000_000  # a label above is a number of something else, and the probe has a row for each class


class Source(abc.ABC):
    """A named set of images in splits, labelled or not.

    A split is named by its name or by an expression such as `train[:90%]`.

    Attributes:
        name: the specification that it was loaded from.
        splits: names of the splits.
        num_classes: number of classes, None where there are no labels.
        class_names: names of the classes by label, None where not known.
        unlabelled_splits: those without any label, though others have some.
        partly_labelled: whether some images of the other splits have no label, which is -1.
        channels: channels of an image.
        missing: what would have to be fetched first, None where the images are at hand.
        files: what the images are read from, where that is known.
        rendering: how transparent and 16-bit image files become 8 bits.
    """

    name: str
    splits: tuple[str, ...]
    num_classes: int | None = None
    class_names: tuple[str, ...] | None = None
    unlabelled_splits: tuple[str, ...] = ()
    partly_labelled: bool = False
    channels: int = 3
    missing: str | None = None
    files: tuple[str, ...] = ()
    rendering: Rendering = Rendering()

    @property
    def spec(self) -> ImageSpec:
        """What a network must know of the images."""
        return ImageSpec(self.channels, self.num_classes, self.name)

    @abc.abstractmethod
    def num_examples(self, split: str) -> int:
        """Number of images in a split. Raises InputError where there is no such split."""

    @abc.abstractmethod
    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        """Images uint8 `[N, H, W, C]` and labels int32 `[N]` (-1: unlabelled; None: no labels at all), held in memory.

        None where the images do not all have one size or are too many to hold.
        """

    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        """The split once, as pairs (reference, label int32) of scalars, where `read` turns a reference into a file.

        Asked for where `arrays` gives None, as is `read`.

        Args:
            split: name or expression.
            seeds: int64 `[2]`, the seeds of the order; None keeps the order on disk. May be a symbolic tensor.
        """
        raise NotImplementedError

    def numbered(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset | None:
        """As `references`, in the same order, with the number of each image: (reference, label, number int64).

        Numbers are 0 ... `num_examples` - 1 in the order of `references` without seeds, and stay an image's own in every
        order: what a memory of all images is kept by. None where a source has none.
        """
        del split, seeds
        return None

    def read(self, reference: tf.Tensor) -> tf.Tensor:
        """The image file that a reference stands for, as `images.decode` reads it."""
        raise NotImplementedError

    def rendered(self, rendering: Rendering) -> Source:
        """The same images rendered in another way, where they are files."""
        del rendering
        return self

    def decoded_to(self, channels: int) -> Source:
        """The same images with 1, 3 or 4 channels, where they are files whose kind is not fixed; else as they are."""
        del channels
        return self

    def look(self, split: str) -> None:
        """Looks at some images of a split, once, and refuses what would come out dark. Raises InputError."""
        del split

    def check(self, bad_files_path: str | None = None) -> list[str]:
        """Finds the images that cannot be decoded and leaves them out from now on.

        Only a folder of files has something to check; the other sources verify checksums as they read.

        Args:
            bad_files_path: file to list them in, one a line. What was found good is remembered beside it.

        Returns:
            The paths of the bad files.

        Raises:
            InputError: too many of the files are bad.
        """
        del bad_files_path
        return []
