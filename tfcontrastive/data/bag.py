"""A bag of crops of each image: several random parts of it, the same in every run."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfcontrastive.augment import Geometry, random_view_geometry, row_seeds
from tfcontrastive.data.images import decode_crops
from tfcontrastive.data.pipeline import PARALLEL, PARALLEL_EXAMPLES, as_tensors, as_written, pipeline_options
from tfcontrastive.data.source import Source


@dataclasses.dataclass(frozen=True)
class Bag:
    """V random square crops of each image, mirrored or not.

    A crop is a function of the image's number in its split, of its own and of the seed: of no batch or number of devices.

    Args:
        crops: of an image, V >= 1.
        area: part of the image that each covers, in (0, 1].
        seed: of the crops.

    Examples:
        >>> source = tfcontrastive.data.load("embedded")
        >>> batch = next(iter(Bag(crops=8, area=0.25).batches(source, "test", batch_size=2, image_size=28)))
        >>> batch["image"].shape, batch["label"].shape
        (TensorShape([2, 8, 28, 28, 1]), TensorShape([2]))
    """

    crops: int
    area: float
    seed: int = 0

    def batches(
        self, source: Source, split: str, *, batch_size: int, image_size: int, limit: int | None = None
    ) -> tf.data.Dataset:
        """The bags of a split once, in the order of `eval_batches`; the last batch may be short.

        Args:
            source: from `load`.
            split: name or expression.
            batch_size: images in a batch, b.
            image_size: height and width of a crop in pixels, S.
            limit: at most so many images; None takes all.

        Returns:
            A dataset of `{"image": float32 [b, V, S, S, C] in [0, 1], "label": int32 [b], -1 where there is none}`.

        Raises:
            InputError: no such split.
        """
        count = source.num_examples(split) if limit is None else min(limit, source.num_examples(split))
        geometry = Geometry(self.area, self.area, 1.0, 1.0)
        source.look(split)
        held = source.arrays(split)

        def seeds_of(numbers):
            return row_seeds(self.seed, tf.constant(0), tf.cast(numbers, tf.int32), self.crops)

        if held is not None:
            images, labels = as_tensors(*held)

            @as_written
            def batch(first):
                rows = tf.range(first, tf.minimum(first + batch_size, count))
                chosen = tf.repeat(tf.gather(images, rows), self.crops, axis=0)
                crops = random_view_geometry(chosen, tf.reshape(seeds_of(rows), [-1, 2]), geometry, image_size)
                shape = [-1, self.crops, *crops.shape[1:]]
                return {"image": tf.reshape(crops, shape), "label": tf.gather(labels, rows)}

            batches = tf.data.Dataset.range(0, count, batch_size).map(batch, **PARALLEL)
        else:

            @as_written
            def example(number, item):
                reference, label = item
                crops = decode_crops(
                    source.read(reference),
                    seeds_of(number[None])[0],
                    channels=source.channels,
                    geometries=[geometry] * self.crops,
                    size=image_size,
                    rendering=source.rendering,
                )
                return {"image": tf.stack(crops), "label": label}

            batches = (
                source.references(split).take(count).enumerate().map(example, **PARALLEL_EXAMPLES).batch(batch_size)
            )
            batches = batches.apply(tf.data.experimental.assert_cardinality(-(-count // batch_size)))
        return batches.prefetch(tf.data.AUTOTUNE).with_options(pipeline_options())
