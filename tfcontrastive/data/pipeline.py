"""From a source to batches: what is in a batch depends on the seed and the step, and on nothing else.

The run sees an endless sequence of epochs, each of them all examples in another order. Step s is examples
s * B ... s * B + B - 1 of that sequence, so each image is seen once an epoch, batches have one size, and a run that
starts at any step goes on exactly as if it had never stopped: nothing of the pipeline needs to be saved.

Where the order comes from:

- in memory, or files in a folder: any example can be had at once, so an epoch is one random permutation, computed index
  by index;
- records: shuffled files, read several at a time, then a shuffle buffer. A resumed run reads and drops the records of
  its epoch up to its step, without decoding them.

Under `tf.distribute`, a batch is the global one. Replicas get equal parts of it in order: replica r of R the rows from
r * B / R. With several workers, each makes all batches and keeps its part (auto-shard policy DATA): sharding files
instead would change which images share a batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import tensorflow as tf

from tfcontrastive.augment import Geometry, random_view_geometry, row_seeds
from tfcontrastive.config import InputError
from tfcontrastive.data.images import decode, decode_crops
from tfcontrastive.data.preprocessing import Preprocessing
from tfcontrastive.data.source import Source

as_written = tf.autograph.experimental.do_not_convert  # nothing below needs AutoGraph, which takes seconds
PARALLEL = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True}
"""For batches."""

PARALLEL_EXAMPLES = {"num_parallel_calls": os.cpu_count() or 1, "deterministic": True}
"""For examples, which are decoded on every core; AUTOTUNE would stop at 16 of them."""


def train_batches(
    source: Source,
    split: str,
    *,
    batch_size: int,
    image_size: int,
    geometry: Geometry | Sequence[Geometry],
    num_views: int = 2,
    seed: int,
    start_step: int = 0,
) -> tf.data.Dataset:
    """Endless batches of random views; a batch is a pure function of (seed, step).

    Args:
        source: from `load`.
        split: name or expression, such as `train[:90%]`.
        batch_size: images of a global batch, B.
        image_size: height and width of a view in pixels, S.
        geometry: of all views, or of each: `augment.policy(...).geometries`.
        num_views: views of an image, V, where they have one geometry. The first views are the same with more of them.
        seed: of the order, the crops and the flips, and of the seeds that are handed on.
        start_step: the step of the first batch.

    Returns:
        A dataset of `{"views": V tensors, float32 [B, S, S, C] in [0, 1], cropped and flipped; "seeds": int32
        [B, V, 2], for the photometric ops; "label": int32 [B], -1 where there is none}`; and of a source that numbers its
        images, as all of this package do, "index": int64 [B], their numbers in the split, the same in every epoch and run.
        A view whose geometry has a size of its own is larger or smaller.

    Raises:
        InputError: a number out of range, a batch larger than the data, or no such split.

    Examples:
        >>> from tfcontrastive import augment, data
        >>> source, geometry = data.load("embedded"), augment.policy("simclr").geometry
        >>> batches = data.train_batches(source, "train", batch_size=64, image_size=32, geometry=geometry, seed=0)
        >>> next(iter(batches))["views"][0].shape
        TensorShape([64, 32, 32, 1])
    """
    geometries = [geometry] * num_views if isinstance(geometry, Geometry) else list(geometry)
    num_views = len(geometries)
    _check_at_least(1, batch_size=batch_size, image_size=image_size, num_views=num_views)
    _check_at_least(0, start_step=start_step)
    count = source.num_examples(split)
    if batch_size > count:
        raise InputError(f"`batch_size` must be <= {count}, the images of {split}. Received: batch_size={batch_size}.")

    def seeds_of(step):
        """(geometric, photometric) seeds, each `[B, V, 2]`."""
        rows = row_seeds(seed, step, tf.range(batch_size), 2 * num_views)
        return [tf.gather(rows, places, axis=1) for places in _seed_places(num_views)]

    source.look(split)
    held = source.arrays(split)
    if held is not None:
        images, labels = as_tensors(*held)

        @as_written
        def batch(step):
            index = shuffled_indices(step * batch_size, batch_size, count, seed)
            geometric, photometric = seeds_of(step)
            chosen = tf.gather(images, index)
            views = [
                random_view_geometry(chosen, geometric[:, v], one, one.pixels(image_size))
                for v, one in enumerate(geometries)
            ]
            return {"views": tuple(views), "seeds": photometric, "label": tf.gather(labels, index), "index": index}

        batches = tf.data.Dataset.counter(start_step).map(batch, **PARALLEL)
    else:

        @as_written
        def example(item, seeds):
            (reference, label, *number), (geometric, photometric) = item, seeds
            views = decode_crops(
                source.read(reference),
                geometric,
                channels=source.channels,
                geometries=geometries,
                size=image_size,
                rendering=source.rendering,
            )
            numbers = {"index": number[0]} if number else {}
            return {"views": views, "seeds": photometric, "label": label, **numbers}

        in_order = source.references if source.numbered(split) is None else source.numbered
        seeds = tf.data.Dataset.counter(start_step).map(seeds_of).unbatch()
        examples = tf.data.Dataset.zip(epochs(in_order, split, count, start_step * batch_size, seed), seeds)
        batches = examples.map(example, **PARALLEL_EXAMPLES).batch(batch_size, drop_remainder=True)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(pipeline_options())


def eval_batches(
    source: Source,
    split: str,
    *,
    batch_size: int,
    image_size: int,
    limit: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> tf.data.Dataset:
    """The images of a split once, in order, as evaluation and serving see them; the last batch may be short.

    Args:
        source: from `load`.
        split: name or expression.
        batch_size: images in a batch, b.
        image_size: height and width in pixels, S. See `augment.ops.center_crop_resize`.
        limit: at most so many images; None takes all.
        preprocessing: the encoder's rule, of which decoding, crop and resize are done here; None takes SimCLR's.

    Returns:
        A dataset of `{"image": float32 [b, S, S, C] in [0, 1], "label": int32 [b], -1 where there is none}`.

    Raises:
        InputError: a number out of range, or no such split.

    Examples:
        >>> from tfcontrastive import data
        >>> batches = data.eval_batches(data.load("embedded"), "test", batch_size=100, image_size=28)
        >>> len(batches)
        20
    """
    _check_at_least(1, batch_size=batch_size, image_size=image_size, limit=1 if limit is None else limit)
    count = source.num_examples(split) if limit is None else min(limit, source.num_examples(split))
    rule = preprocessing or Preprocessing()
    crop_and_resize = rule.crop_and_resize
    source = source.rendered(rule.rendering(source.rendering))
    source.look(split)
    held = source.arrays(split)
    if held is not None:
        images, labels = as_tensors(*held)

        @as_written
        def batch(first):
            rows = tf.range(first, tf.minimum(first + batch_size, count))
            image = crop_and_resize(tf.gather(images, rows), image_size)
            return {"image": image, "label": tf.gather(labels, rows)}

        batches = tf.data.Dataset.range(0, count, batch_size).map(batch, **PARALLEL)
    else:

        @as_written
        def example(reference, label):
            image = decode(source.read(reference), source.channels, source.rendering)
            return {"image": crop_and_resize(image, image_size), "label": label}

        batches = source.references(split).take(count).map(example, **PARALLEL_EXAMPLES).batch(batch_size)
        batches = batches.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
    return batches.prefetch(tf.data.AUTOTUNE).with_options(pipeline_options())


def _seed_places(num_views: int) -> tuple[list[int], list[int]]:
    """Which of an image's seeds are for the crops and which for the colors: a view's are the same with more views."""
    first = min(num_views, 2)
    crops = [*range(first), *range(4, 2 * num_views, 2)]
    return crops, [*range(first, 2 * first), *range(5, 2 * num_views, 2)]


def shuffled_indices(first: tf.Tensor, count: int, total: int, seed: int) -> tf.Tensor:
    """Which examples are at `first ... first + count - 1` of the endless sequence of shuffled epochs.

    Args:
        first: int64 scalar.
        count: how many, at most `total`.
        total: the number of examples.
        seed: of the run.

    Returns:
        int64 `[count]` in 0..total-1.
    """
    position = first + tf.range(count, dtype=tf.int64)
    last = tf.constant(total - 1, tf.int64)

    def permuted(epoch):
        return tf.random.experimental.index_shuffle(position % total, _epoch_seeds(seed, epoch), last)

    epoch = first // total  # a batch reaches into the next epoch at most
    return tf.where(position // total == epoch, permuted(epoch), permuted(epoch + 1))


def epochs(
    in_order: Callable[[str, tf.Tensor], tf.data.Dataset], split: str, count: int, start: int, seed: int
) -> tf.data.Dataset:
    """The endless sequence of shuffled epochs from its example `start` on.

    Args:
        in_order: a source's `references` or `numbered`.
        split: of `count` images.
        start: an example of the sequence.
        seed: of the run.
    """
    numbers = tf.data.Dataset.counter(start // count)
    return numbers.flat_map(lambda epoch: in_order(split, _epoch_seeds(seed, epoch))).skip(start % count)


def _epoch_seeds(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    """int64 `[2]`, the seeds of an epoch's order; non-negative, as tf.data wants them."""
    key = tf.stack([tf.constant(seed, tf.int64), tf.cast(epoch, tf.int64)])
    return tf.random.stateless_uniform([2], key, 0, 2**31 - 1, tf.int64, alg="philox")


def as_tensors(images, labels) -> tuple[tf.Tensor, tf.Tensor]:
    """The arrays where tf.data works, on the host; absent labels become -1."""
    with tf.device("CPU:0"):
        labels = tf.fill([len(images)], -1) if labels is None else tf.constant(labels)
        return tf.constant(images), labels


def pipeline_options() -> tf.data.Options:
    """Batches in order, each worker's part cut out of whole ones, and no autotuner, see `untuned`."""
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return options


def _check_at_least(least: int, **values: int) -> None:
    for name, value in values.items():
        if value < least:
            raise InputError(f"`{name}` must be >= {least}. Received: {name}={value}.")
