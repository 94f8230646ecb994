"""Data sets of tensorflow-datasets, and the one that ships with this package."""

from __future__ import annotations

import contextlib
import copy
import difflib
import functools
import os
import pathlib
import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfcontrastive.config import InputError, unknown
from tfcontrastive.data.encoded import SHUFFLE_BYTES, EncodedSource, forget_global_seed
from tfcontrastive.data.opening import SOURCES, Opening, register_source
from tfcontrastive.data.paths import local_path
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.tfds_numbers import numbers_by_id
from tfcontrastive.data.untuned import untuned

EMBEDDED = pathlib.Path(__file__).parent / "embedded" / "fashion_mnist_subset" / "1.0.0"
_SHUFFLE_RECORDS = 2**14  # where the size of a record is not known
_FILES_AT_ONCE = 16


class TfdsSource(EncodedSource):
    """Any image data set that tensorflow-datasets can read; splits are its own expressions, `train[:90%]` among them.

    Its slices follow the order on disk, which tensorflow-datasets shuffled when it prepared the data.

    Args:
        builder: a `tfds.core.DatasetBuilder` whose data is prepared.
        name: what to call it.
        cache: whether to hold the decoded images in memory; None decides by their size.
        rendering: of transparent images; None: on white.

    Raises:
        InputError: the data set has no 8-bit image feature.

    Examples:
        >>> TfdsSource.embedded().class_names[0]
        'T-shirt/top'
    """

    def __init__(
        self, builder, *, name: str | None = None, cache: bool | None = None, rendering: Rendering | None = None
    ):
        super().__init__(cache, rendering)
        self._depth_is_known = True  # 8 bits
        self._is_local = "://" not in str(builder.data_dir)
        self._builder = builder
        self._counts: dict[str, int] = {}
        self._numbers: dict[str, Callable[[tf.Tensor], tf.Tensor] | None] = {}
        self.name = name or builder.info.full_name
        self.splits = tuple(builder.info.splits)
        self.files = tuple(os.fspath(path) for split in builder.info.splits.values() for path in split.filepaths)
        self._image_key, self._label_key = _feature_keys(builder.info, self.name)
        self.channels = builder.info.features[self._image_key].shape[-1] or 3
        if self._label_key:
            label = builder.info.features[self._label_key]
            self.num_classes, self.class_names = label.num_classes, tuple(label.names)

    @classmethod
    def open(
        cls,
        name: str,
        *,
        data_dir: str | None = None,
        cache: bool | None = None,
        rendering: Rendering | None = None,
        fetch: bool = True,
    ) -> TfdsSource:
        """Opens a data set by name (`cifar10`, `imagenet2012_subset/10pct:5.*.*`) or by its prepared directory.

        What is not prepared yet is downloaded and prepared where its publisher allows that.

        Args:
            name: name with an optional configuration and version, or a directory with a `dataset_info.json`.
            data_dir: the root of prepared data sets; None takes the default of tensorflow-datasets.
            cache, rendering: as for the class.
            fetch: False downloads and prepares nothing; `missing` tells what that would be.

        Raises:
            InputError: an unknown name, or data that cannot be prepared; says what to do.
        """
        import tensorflow_datasets as tfds  # slow to import

        name, data_dir = local_path(name), None if data_dir is None else local_path(data_dir)
        options: dict[str, Any] = {"name": name, "cache": cache, "rendering": rendering}
        if os.path.isfile(os.path.join(name, "dataset_info.json")):
            return cls(tfds.builder_from_directory(name), **options)
        if os.path.exists(name):
            raise InputError(f"`dataset` {name!r} is not prepared by tensorflow-datasets. Did you mean folder:{name}?")
        try:
            builder = tfds.builder(name, data_dir=data_dir)
        except (ValueError, AssertionError, ImportError, TypeError, RuntimeError) as error:
            known = tfds.list_builders(with_community_datasets=False)
            if re.split("[/:]", name)[0] not in known:
                raise InputError(_unknown_name(name, known)) from error
            raise InputError(f"`dataset` {name!r} cannot be opened: {_first_line(error)}") from error
        if fetch:
            _prepare(builder, name)
        source = cls(builder, **options)
        source.missing = None if fetch else _missing(builder)
        return source

    @classmethod
    def embedded(cls, *, cache: bool | None = None, rendering: Rendering | None = None) -> TfdsSource:
        """10,000 training and 2,000 test images of Fashion-MNIST, 28x28 gray, which ship with this package."""
        return copy.copy(_embedded(cache, rendering or Rendering()))

    def num_examples(self, split: str) -> int:
        if split not in self._counts:
            self._refuse_empty(split)
            with tf.init_scope():  # a length can be had in eager mode only
                self._counts[split] = len(self._examples(split, None))
        return self._counts[split]

    def _refuse_empty(self, split: str) -> None:
        """tensorflow-datasets takes `train[10:5]` for -5 images."""
        for part in split.split("+"):
            try:
                count = self._builder.info.splits[part].num_examples
            except (KeyError, ValueError, AssertionError):
                continue  # `_examples` says why
            if count < 0:
                raise InputError(f"A split must select at least one image. Received: {part!r}.")

    def image_shape(self, split: str) -> tuple[int, int, int] | None:
        shape = self._builder.info.features[self._image_key].shape
        return None if None in shape else shape

    @tf.autograph.experimental.do_not_convert
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        return self._ordered(split, seeds, self._pair)

    @tf.autograph.experimental.do_not_convert
    def numbered(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset | None:
        """As `Source.numbered`; None where two files of a data set have one name."""
        number_of = self._number_of(split)
        if number_of is None:
            return None
        return self._ordered(
            split, seeds, lambda example: (*self._pair(example), number_of(example["tfds_id"])), with_id=True
        )

    def annotations(self, split: str, *keys: str) -> list[dict]:
        """Other features of each example, by name, in the order of `eval_batches`. No image is decoded.

        Raises:
            InputError: the data set has no such feature.
        """
        missing = [key for key in keys if key not in self._builder.info.features]
        if missing:
            raise InputError(
                f"`dataset` {self.name!r} must have {', '.join(keys)}. Received: none named {missing[0]!r}."
            )
        examples = self._examples(split, None).map(lambda example: {key: example[key] for key in keys})
        return list(examples.as_numpy_iterator())

    def _ordered(
        self, split: str, seeds: tf.Tensor | None, taken: Callable[[dict], tuple], with_id: bool = False
    ) -> tf.data.Dataset:
        """What is taken of each example, in the order on disk or in that of two seeds: of the files, and of a buffer."""
        if seeds is None:
            return self._examples(split, None, with_id).map(taken)
        forget_global_seed()
        shuffled = self._examples(split, seeds[0], with_id).map(taken)
        return shuffled.shuffle(self._buffer(split), seed=seeds[1], reshuffle_each_iteration=False)

    def _number_of(self, split: str) -> Callable[[tf.Tensor], tf.Tensor] | None:
        """From an example's id to its number in the order on disk."""
        if split not in self._numbers:
            try:
                parts = self._builder.info.splits[split].file_instructions
            except (KeyError, ValueError, AssertionError):
                return None  # of a split that cannot be read, `_examples` says why
            self._numbers[split] = numbers_by_id([(os.fspath(part.filename), part.skip, part.take) for part in parts])
        return self._numbers[split]

    def _examples(self, split: str, shuffle_seed: tf.Tensor | None, with_id: bool = False) -> tf.data.Dataset:
        import tensorflow_datasets as tfds

        config = tfds.ReadConfig(
            shuffle_seed=shuffle_seed,
            shuffle_reshuffle_each_iteration=False,
            interleave_cycle_length=1 if shuffle_seed is None else _FILES_AT_ONCE,
            try_autocache=False,
            skip_prefetch=True,
            enable_ordering_guard=False,
            add_tfds_id=with_id,
        )
        try:
            examples = self._builder.as_dataset(
                split=split,
                shuffle_files=shuffle_seed is not None,
                read_config=config,
                decoders={self._image_key: tfds.decode.SkipDecoding()},
            )
            return untuned(examples)
        except (ValueError, AssertionError) as error:
            if split.split("[")[0] in self.splits:
                raise InputError(f"The split {split!r} cannot be read: {_first_line(error)}") from error
            raise InputError(f"The split {unknown(split, self.splits)}") from error

    def _pair(self, example):
        label = example[self._label_key] if self._label_key else -1
        return example[self._image_key], tf.cast(label, tf.int32)

    def _buffer(self, split: str) -> int:
        info = self._builder.info
        total = info.splits.total_num_examples if info.splits else 0
        records = SHUFFLE_BYTES * total // info.dataset_size if total and info.dataset_size else _SHUFFLE_RECORDS
        return max(1, min(self.num_examples(split), records))


@functools.cache
def _embedded(cache: bool | None, rendering: Rendering) -> TfdsSource:
    """Opened once in a process: its copies share the decoded images, which nobody can write to."""
    import tensorflow_datasets as tfds

    source = TfdsSource(tfds.builder_from_directory(EMBEDDED), name="embedded", cache=cache, rendering=rendering)
    source.files = ()  # the same in every installation, whatever the time of its files
    return source


def _feature_keys(info, name: str) -> tuple[str, str | None]:
    """Names of the image and of its label, None where there is none."""
    import tensorflow_datasets as tfds

    def first(feature_class, preferred):
        found = [key for key, feature in info.features.items() if type(feature) is feature_class]
        return next((key for key in (*preferred, *found) if key in found), None)

    keys = info.supervised_keys or ()
    image = first(tfds.features.Image, (*keys, "image"))
    if image is None or tf.as_dtype(info.features[image].np_dtype) != tf.uint8:
        raise InputError(f"`dataset` must have images of 8 bits. Received: {name!r} with {', '.join(info.features)}.")
    return image, first(tfds.features.ClassLabel, (*keys, "label"))


def _prepare(builder, name: str) -> None:
    if builder.is_prepared():
        return
    try:
        with _few_retries():
            builder.download_and_prepare()
    except Exception as error:  # of network, disk, publisher's site and builder, each with its own type
        raise InputError(
            f"`dataset` {name!r} is not prepared in {builder.data_dir} and preparing it failed: {_first_line(error)} "
            f"Run `tfds build {name}` where it can be downloaded and give that directory as `data_dir`."
        ) from error


def _missing(builder) -> str | None:
    """What a run would fetch before it could start; None where the data is prepared."""
    if builder.is_prepared():
        return None
    if builder.MANUAL_DOWNLOAD_INSTRUCTIONS:
        how = "its files must be downloaded by hand"
    else:
        known = [info.size for info in (builder.url_infos or {}).values()]
        how = (
            f"{sum(known) / 1e6:,.0f} MB at most would be downloaded"
            if known
            else "it would be downloaded or generated"
        )
    return f"not on this machine: {how} and prepared in {builder.data_dir}"


@contextlib.contextmanager
def _few_retries():
    """Gives a dead network up after seconds; by itself tensorflow-datasets takes minutes."""
    from tensorflow_datasets.core.download import downloader

    usual = downloader.MAX_RETRIES
    downloader.MAX_RETRIES = 4
    try:
        yield
    finally:
        downloader.MAX_RETRIES = usual


def _unknown_name(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(re.split("[/:]", name)[0], [*SOURCES, *known], n=3)
    guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return (
        f"`dataset` must be a name of tensorflow-datasets, folder:PATH, tfrecord:GLOB, npz:FILE or embedded. "
        f"Received: {name!r}.{guess}"
    )


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"


@register_source("embedded")
def _open_embedded(rest: str, opening: Opening) -> TfdsSource:
    if rest:
        raise InputError(f"`dataset` embedded takes nothing after it. Received: embedded:{rest}.")
    return TfdsSource.embedded(cache=opening.cache, rendering=opening.rendering)


@register_source("tfds")
def _open(name: str, opening: Opening) -> TfdsSource:
    return TfdsSource.open(
        name, data_dir=opening.data_dir, cache=opening.cache, rendering=opening.rendering, fetch=opening.fetch
    )
