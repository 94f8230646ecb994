"""Views of an image that are the same in every epoch, and show the same part of it at every size.

A view is a function of the image's number and its own: what a teacher says of it at one size is worked out once, and a
student sees it at another.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfcontrastive.augment import Geometry, random_view_geometry, row_seeds
from tfcontrastive.config import InputError
from tfcontrastive.data.images import decode_crops
from tfcontrastive.data.pipeline import (
    PARALLEL,
    PARALLEL_EXAMPLES,
    as_tensors,
    as_written,
    epochs,
    pipeline_options,
    shuffled_indices,
)
from tfcontrastive.data.source import Source


@dataclasses.dataclass(frozen=True)
class FixedViews:
    """V crops and flips of each image of a split.

    Args:
        source: whose labels are the numbers of its images.
        split: name or expression.
        geometry: of the crops and flips.
        count: of views an image, V >= 1.
        seed: of the crops and flips.

    Examples:
        >>> from tfcontrastive.downstream.instances import Numbered
        >>> source = Numbered(tfcontrastive.data.load("embedded"))
        >>> views = FixedViews(source, "train", tfcontrastive.augment.Geometry(), count=2)
        >>> large, small = (next(iter(views.of_images(0, 4, batch_size=4, image_size=size))) for size in (56, 28))
        >>> large["image"].shape, small["image"].shape, large["label"].numpy().tolist()
        (TensorShape([8, 56, 56, 1]), TensorShape([8, 28, 28, 1]), [0, 0, 1, 1, 2, 2, 3, 3])
    """

    source: Source
    split: str
    geometry: Geometry
    count: int
    seed: int = 0

    def of_images(self, first: int, count: int, *, batch_size: int, image_size: int) -> tf.data.Dataset:
        """All views of some images once, in order, those of an image one after the other.

        Args:
            first: number of the first image.
            count: images.
            batch_size: images in a batch, b; the last one may be short.
            image_size: height and width in pixels, S.

        Returns:
            A dataset of `{"image": float32 [b * V, S, S, C] in [0, 1], "label": int32 [b * V], the images' numbers}`.
        """
        source, last = self.source, first + count
        source.look(self.split)
        held = source.arrays(self.split)
        if held is not None:
            images, _ = as_tensors(*held)

            @as_written
            def batch(start):
                rows = tf.range(start, tf.minimum(start + batch_size, last))
                chosen = tf.repeat(tf.gather(images, rows), self.count, axis=0)
                views = random_view_geometry(chosen, tf.reshape(self._seeds(rows), [-1, 2]), self.geometry, image_size)
                return {"image": views, "label": tf.cast(tf.repeat(rows, self.count), tf.int32)}

            batches = tf.data.Dataset.range(first, last, batch_size).map(batch, **PARALLEL)
        else:

            @as_written
            def example(reference, number):
                return {"image": self._decoded(reference, self._seeds(number[None])[0], image_size), "label": number}

            @as_written
            def flat(batch):
                shape = [-1, *batch["image"].shape[2:]]
                return {
                    "image": tf.reshape(batch["image"], shape),
                    "label": tf.repeat(tf.cast(batch["label"], tf.int32), self.count),
                }

            some = source.references(self.split).skip(first).take(count)
            batches = some.map(example, **PARALLEL_EXAMPLES).batch(batch_size).map(flat)
            batches = batches.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
        return batches.prefetch(tf.data.AUTOTUNE).with_options(pipeline_options())

    def train_batches(self, *, batch_size: int, image_size: int, seed: int, start_step: int = 0) -> tf.data.Dataset:
        """Endless batches of one view of each image, another one in each epoch; see `data.train_batches`.

        An image's view in epoch e is (e + its number) mod V.

        Args:
            batch_size: images of a global batch, B.
            image_size: height and width in pixels, S.
            seed: of the order, and of the seeds that are handed on.
            start_step: the step of the first batch.

        Returns:
            A dataset of `{"views": (float32 [B, S, S, C] in [0, 1],), "seeds": int32 [B, 1, 2], for the photometric ops,
            "index": int32 [B], the images' numbers, "view": int32 [B]}`.

        Raises:
            InputError: a batch larger than the data, or no such split.
        """
        source, split = self.source, self.split
        total = source.num_examples(split)
        if batch_size > total:
            raise InputError(
                f"`batch_size` must be <= {total}, the images of {split}. Received: batch_size={batch_size}."
            )

        def turn(position, number):
            """Which view is due at a position of the sequence of epochs."""
            return tf.cast((position // total + tf.cast(number, tf.int64)) % self.count, tf.int32)

        source.look(split)
        held = source.arrays(split)
        if held is not None:
            images, _ = as_tensors(*held)

            @as_written
            def batch(step):
                index = shuffled_indices(step * batch_size, batch_size, total, seed)
                view = turn(step * batch_size + tf.range(batch_size, dtype=tf.int64), index)
                seeds = tf.gather(self._seeds(index), view, batch_dims=1)
                shown = random_view_geometry(tf.gather(images, index), seeds, self.geometry, image_size)
                return {
                    "views": (shown,),
                    "seeds": row_seeds(seed, step, tf.range(batch_size), 1),
                    "index": tf.cast(index, tf.int32),
                    "view": view,
                }

            batches = tf.data.Dataset.counter(start_step).map(batch, **PARALLEL)
        else:
            start = start_step * batch_size

            @as_written
            def example(position, item):
                reference, number = item
                view = turn(position, number)
                shown = self._decoded(reference, self._seeds(number[None])[0, view][None], image_size)
                return {
                    "views": (shown[0],),
                    "seeds": row_seeds(seed, position // batch_size, (position % batch_size)[None], 1)[0],
                    "index": tf.cast(number, tf.int32),
                    "view": view,
                }

            items = tf.data.Dataset.zip(
                tf.data.Dataset.counter(start), epochs(source.references, split, total, start, seed)
            )
            batches = items.map(example, **PARALLEL_EXAMPLES).batch(batch_size, drop_remainder=True)
        return batches.prefetch(tf.data.AUTOTUNE).with_options(pipeline_options())

    def _seeds(self, numbers: tf.Tensor) -> tf.Tensor:
        """Of the crops and flips of the images of these numbers: `[B, V, 2]`."""
        return row_seeds(self.seed, tf.constant(0), numbers, self.count)

    def _decoded(self, reference: tf.Tensor, seeds: tf.Tensor, image_size: int) -> tf.Tensor:
        """The views of a file that the seeds `[v, 2]` stand for: `[v, S, S, C]`."""
        geometries = [self.geometry] * seeds.shape[0]
        views = decode_crops(
            self.source.read(reference),
            seeds,
            channels=self.source.channels,
            geometries=geometries,
            size=image_size,
            rendering=self.source.rendering,
        )
        return tf.stack(views)
