"""Files of `tf.train.Example` records with encoded images."""

from __future__ import annotations

import functools
import glob
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from tfcontrastive.config import InputError
from tfcontrastive.data.encoded import SHUFFLE_BYTES, EncodedSource, forget_global_seed
from tfcontrastive.data.images import reason
from tfcontrastive.data.opening import Opening, register_source
from tfcontrastive.data.paths import local_path
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.slices import in_slice, members, parse_split
from tfcontrastive.data.source import MOST_CLASSES
from tfcontrastive.data.untuned import untuned

_IMAGE_KEYS = ("image/encoded", "image")
_LABEL_KEYS = ("image/class/label", "label")
_FILES_AT_ONCE = 16


class _Content(NamedTuple):
    """What one pass over the files found."""

    counts: np.ndarray  # records of each file
    highest_label: int


class TfRecordSource(EncodedSource):
    """Records with the image file in `image/encoded` or `image`, and maybe its label in `image/class/label` or `label`.

    The only split is `train`; expressions such as `train[90%:]` select from a fixed random order. Classes are counted
    up to the highest label. A record without a label has label -1. The number of records and the labels are found by
    one pass over the files, at first use.

    Args:
        pattern: a file name or glob pattern; `~` is expanded.
        channels: 3, 1 (gray) or 4 (RGBA), what the images are decoded to.
        cache: whether to hold the decoded images in memory; None decides by their size.
        rendering: of transparent and of 16-bit images; None: on white, and refused if 16 bits would come out dark.

    Raises:
        InputError: no such files, records of another form, or a label below -1.

    Examples:
        source = TfRecordSource("imagenet/train-*-of-01024")
        source.num_examples("train"), source.num_classes
    """

    splits = ("train",)
    decodes = True

    def __init__(
        self,
        pattern: str | os.PathLike,
        *,
        channels: int = 3,
        cache: bool | None = None,
        rendering: Rendering | None = None,
    ):
        super().__init__(cache, rendering)
        pattern = local_path(pattern)
        self.name, self.channels = f"tfrecord:{pattern}", channels
        self._paths, self._is_local = _matching(pattern), "://" not in pattern
        if not self._paths:
            raise InputError(f"`tfrecord:` must match at least one file. Received: {pattern!r}.")
        self.files = tuple(self._paths)
        try:
            first = next(untuned(tf.data.TFRecordDataset(self._paths)).as_numpy_iterator())
            example = tf.train.Example.FromString(first)
        except StopIteration:
            raise InputError(f"`tfrecord:` must match files with records. Received: {pattern!r}.") from None
        except (tf.errors.OpError, DecodeError) as error:
            raise InputError(f"{self._paths[0]} does not hold tf.train.Example records.") from error
        self._image_key = _key(example, _IMAGE_KEYS)
        self._label_key = _key(example, _LABEL_KEYS)
        if self._image_key is None:
            keys = ", ".join(sorted(example.features.feature)) or "nothing"
            raise InputError(f"{self.name}: a record must have `image/encoded` or `image`. Received: {keys}.")

    @property
    def num_classes(self) -> int | None:  # type: ignore[override]  # known when the records have been read
        highest = self._content.highest_label
        return highest + 1 if highest >= 0 else None

    def num_examples(self, split: str) -> int:
        _, start, stop = self._bounds(split)
        return stop - start

    @tf.autograph.experimental.do_not_convert
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        return self.numbered(split, seeds).map(lambda image, label, _: (image, label))

    @tf.autograph.experimental.do_not_convert
    def numbered(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        forget_global_seed()
        total, start, stop = self._bounds(split)
        last = tf.constant(len(self._paths) - 1, tf.int64)
        ends = np.cumsum(self._content.counts)

        def records(file):
            """(index among all records, record) of one file."""
            if seeds is not None:
                file = tf.random.experimental.index_shuffle(file, seeds, last)
            end = tf.gather(ends, file)
            indices = tf.data.Dataset.range(end - tf.gather(self._content.counts, file), end)
            return tf.data.Dataset.zip(indices, tf.data.TFRecordDataset(tf.gather(self._paths, file)))

        examples = untuned(tf.data.Dataset.range(len(self._paths))).interleave(
            records,
            cycle_length=1 if seeds is None else _FILES_AT_ONCE,
            block_length=_FILES_AT_ONCE,
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        number_of: Callable[[tf.Tensor], tf.Tensor] = tf.identity
        if stop - start < total:
            examples = examples.filter(lambda index, record: in_slice(index, total, start, stop))
            number_of = self._number_in(split)
        examples = examples.map(lambda index, record: (*self._parse(record), number_of(index)))
        if seeds is None:
            return examples
        return examples.shuffle(self._buffer(stop - start), seed=seeds[1], reshuffle_each_iteration=False)

    def image_shape(self, split: str) -> tuple[int, int, int] | None:
        try:
            encoded, _ = next(iter(self.references(split)))
            return tuple(self.decode(self.read(encoded)).shape)
        except tf.errors.OpError:
            return None

    @functools.cached_property
    def _content(self) -> _Content:
        def summary(file):
            labels = tf.data.TFRecordDataset(tf.gather(self._paths, file)).batch(1024).map(self._parse_labels)
            return labels.map(lambda label: (file, tf.size(label), tf.reduce_min(label), tf.reduce_max(label)))

        counts, lowest, highest = np.zeros(len(self._paths), np.int64), 0, -1
        files = untuned(tf.data.Dataset.range(len(self._paths)))
        rows = files.interleave(summary, cycle_length=2, num_parallel_calls=2)
        try:
            for file, count, low, high in rows.as_numpy_iterator():
                counts[file] += count
                lowest, highest = min(lowest, low), max(highest, high)
        except tf.errors.OpError as error:
            raise InputError(f"{self.name} cannot be read: {reason(error)}") from error
        if lowest < -1 or highest >= MOST_CLASSES:
            raise InputError(
                f"{self.name}: labels must be in 0..{MOST_CLASSES - 1}, or -1 for none. Received: {lowest}..{highest}."
            )
        return _Content(counts, int(highest))

    def _bounds(self, split: str) -> tuple[int, int, int]:
        """(number of records, start, stop)."""
        total = int(self._content.counts.sum())
        return total, *parse_split(split, {"train": total})[1:]

    def _number_in(self, split: str) -> Callable[[tf.Tensor], tf.Tensor]:
        """From the index among all records to that among those of a part."""
        with tf.init_scope():
            chosen = tf.constant(members(*self._bounds(split)))
        return lambda index: tf.searchsorted(chosen, index[None], out_type=tf.int64)[0]

    def _buffer(self, count: int) -> int:
        size = sum(tf.io.gfile.stat(path).length for path in self._paths)
        return max(1, min(count, SHUFFLE_BYTES * int(self._content.counts.sum()) // size))

    def _parse(self, record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = {self._image_key: tf.io.FixedLenFeature([], tf.string)}
        example = tf.io.parse_single_example(record, image | self._label_feature())
        label = example[self._label_key] if self._label_key else -1
        return example[self._image_key], tf.cast(label, tf.int32)

    def _parse_labels(self, records: tf.Tensor) -> tf.Tensor:
        if self._label_key is None:
            return tf.fill(tf.shape(records), tf.constant(-1, tf.int64))
        return tf.io.parse_example(records, self._label_feature())[self._label_key]

    def _label_feature(self) -> dict[str, tf.io.FixedLenFeature]:
        return {self._label_key: tf.io.FixedLenFeature([], tf.int64, -1)} if self._label_key else {}


def _matching(pattern: str) -> list[str]:
    """The files that a pattern names, sorted. A folder of the pattern may have brackets in its name."""
    if tf.io.gfile.exists(pattern) and not tf.io.gfile.isdir(pattern):
        return [pattern]
    folder, name = os.path.split(pattern)
    if folder and tf.io.gfile.isdir(folder):
        pattern = os.path.join(glob.escape(folder), name)
    return sorted(tf.io.gfile.glob(pattern))


def _key(example: tf.train.Example, names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in example.features.feature), None)


@register_source("tfrecord", decodes=True)
def _open(pattern: str, opening: Opening) -> TfRecordSource:
    return TfRecordSource(pattern, channels=opening.channels or 3, cache=opening.cache, rendering=opening.rendering)
