"""A few of a source's images: the labelled ones of semi-supervised learning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.data.encoded import EncodedSource, forget_global_seed
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.slices import members, parse_split
from tfcontrastive.data.source import Source

_SHUFFLE_RECORDS = 2048


def labels_of(source: Source, split: str) -> np.ndarray:
    """The labels of a split, int32 `[N]` in its order, -1 where there is none. No image is decoded."""
    held = source.held(split) if isinstance(source, EncodedSource) else source.arrays(split)
    if held is not None:
        images, labels = held
        return np.full(len(images), -1, np.int32) if labels is None else labels
    return np.fromiter(source.references(split).map(lambda _, label: label).as_numpy_iterator(), np.int32)


def balanced_rows(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A random part of the labelled examples with equally many of each class.

    Each class gives `fraction * N / C` of its examples, rounded, at least one, and all where it has fewer.

    Args:
        labels: `[N]` integers, -1 where there is none.
        fraction: of all examples, in (0, 1].
        seed: of the choice.

    Returns:
        int64 `[M]`, positions in `labels`, ascending.

    Raises:
        InputError: a fraction out of range, or no labels.

    Examples:
        >>> balanced_rows(np.array([0, 0, 0, 1, 1, 1]), 1 / 3, seed=0).shape
        (2,)

    Source: the class-balanced 1% and 10% of ImageNet, arXiv 2002.05709, section 4.
    """
    if not 0 < fraction <= 1:
        raise InputError(f"`label_fraction` must lie in (0, 1]. Received: label_fraction={fraction}.")
    classes = np.unique(labels[labels >= 0])
    if not classes.size:
        raise InputError("`label_fraction` needs images with labels. Received: none.")
    count = max(1, round(fraction * len(labels) / len(classes)))
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:count] for label in classes]
    return np.sort(np.concatenate(chosen))


class Subset(Source):
    """A source of which some splits hold only some of its examples; the other splits are as they were.

    Of records, every one is read in each epoch and those not chosen are dropped undecoded.

    Args:
        source: the whole.
        parts: for the name of a split: the split or expression that it is taken from, and the positions of the chosen
            examples in the order of `eval_batches`, int `[M]`, ascending.

    Examples:
        >>> source = tfcontrastive.data.load("embedded")
        >>> rows = balanced_rows(labels_of(source, "train"), 0.01, seed=0)
        >>> few = Subset(source, {"train": ("train", rows)})
        >>> few.num_examples("train"), few.num_examples("test")
        (100, 2000)
    """

    def __init__(self, source: Source, parts: Mapping[str, tuple[str, np.ndarray]]):
        self._source = source
        self._parts = {name: (split, np.asarray(rows)) for name, (split, rows) in parts.items()}
        self.name = source.name
        self.splits = tuple(dict.fromkeys((*source.splits, *parts)))
        self.channels, self.rendering = source.channels, source.rendering
        self.files, self.missing = source.files, source.missing
        self.unlabelled_splits, self.partly_labelled = source.unlabelled_splits, source.partly_labelled
        self.num_classes, self.class_names = source.num_classes, source.class_names

    def rendered(self, rendering: Rendering) -> Subset:
        return self if rendering == self.rendering else Subset(self._source.rendered(rendering), self._parts)

    def decoded_to(self, channels: int) -> Subset:
        whole = self._source.decoded_to(channels)
        return self if whole is self._source else Subset(whole, self._parts)

    def _part(self, split: str) -> tuple[str, np.ndarray | None]:
        """Where the examples of a split or an expression are: a split of the whole, and positions in it; None: all."""
        if split in self._parts:
            return self._parts[split]
        name = split.partition("[")[0]
        if name not in self._parts:
            return split, None
        whole, rows = self._parts[name]
        _, start, stop = parse_split(split, {name: len(rows)})
        return whole, rows[members(len(rows), start, stop)]

    def look(self, split: str) -> None:
        self._source.look(self._part(split)[0])

    def num_examples(self, split: str) -> int:
        whole, rows = self._part(split)
        return self._source.num_examples(whole) if rows is None else len(rows)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        whole, rows = self._part(split)
        held = self._source.arrays(whole)
        if held is None or rows is None:
            return held
        images, labels = held
        return images[rows], None if labels is None else labels[rows]

    @tf.autograph.experimental.do_not_convert
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        """As `EncodedSource.references`."""
        if self._part(split)[1] is None:
            return self._source.references(split, seeds)
        return self.numbered(split, seeds).map(lambda reference, label, _: (reference, label))

    @tf.autograph.experimental.do_not_convert
    def numbered(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset | None:
        """As `Source.numbered`; numbers are those in the part."""
        whole, rows = self._part(split)
        if rows is None:
            return self._source.numbered(split, seeds)
        with tf.init_scope():
            numbers = np.full(self._source.num_examples(whole), -1, np.int64)
            numbers[rows] = np.arange(len(rows))
            numbers = tf.constant(numbers)
        chosen = self._source.references(whole).enumerate().filter(lambda row, _: numbers[row] >= 0)
        few = chosen.map(lambda row, example: (*example, numbers[row]))
        if seeds is None:
            return few
        forget_global_seed()
        return few.shuffle(min(len(rows), _SHUFFLE_RECORDS), seed=seeds[1], reshuffle_each_iteration=False)

    def read(self, reference: tf.Tensor) -> tf.Tensor:
        """As `EncodedSource.read`."""
        return self._source.read(reference)
