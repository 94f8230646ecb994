"""The `invariances` protocol: what a representation still knows of how an image was altered."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import augment, data
from tfcontrastive.config import InputError
from tfcontrastive.config.protocols.invariances import InvariancesSettings
from tfcontrastive.evaluate.checks import checked_features
from tfcontrastive.evaluate.evaluator import FeatureEvaluator, default_image_size, held_out_split
from tfcontrastive.evaluate.features import FeatureExtractor, projected, taken_by

_FEWEST = 10  # training images of which a tenth, shown in every way, can be held out


def _gray(images: tf.Tensor, seeds: tf.Tensor, noise: float) -> tf.Tensor:
    return tf.repeat(tf.image.rgb_to_grayscale(images), 3, axis=-1)


def _rotated(quarters: int) -> Callable[..., tf.Tensor]:
    return lambda images, seeds, noise: tf.image.rot90(images, quarters)


def _noisy(images: tf.Tensor, seeds: tf.Tensor, noise: float) -> tf.Tensor:
    shape = images.shape[1:]
    drawn = tf.map_fn(
        lambda seed: tf.random.stateless_normal(shape, seed, stddev=noise), seeds, fn_output_signature=tf.float32
    )
    return tf.clip_by_value(images + drawn, 0.0, 1.0)


def _sobel(images: tf.Tensor, seeds: tf.Tensor, noise: float) -> tf.Tensor:
    """The length of the gradient in each channel, 1 at the strongest edge of the image."""
    length = tf.norm(tf.image.sobel_edges(images), axis=-1)
    return length / tf.maximum(tf.reduce_max(length, axis=[1, 2, 3], keepdims=True), 1e-6)


def _original(images: tf.Tensor, seeds: tf.Tensor, noise: float) -> tf.Tensor:
    return images


TASKS = {
    "color": (_original, _gray),
    "rotation": (_original, _rotated(1), _rotated(2), _rotated(3)),
    "noise": (_original, _noisy),
    "sobel": (_original, _sobel),
}
"""By task, the ways in which an image is shown; the MLP tells which it was."""


@dataclasses.dataclass(frozen=True)
class Invariances(InvariancesSettings, FeatureEvaluator):
    """SimCLR's Table 3: does an MLP on h, and on g(h), tell color from gray, rotations, noise and Sobel edges?

    Each image is shown in every way of a task: as it is and gray, turned by 0, 90, 180 and 270 degrees, as it is and
    with Gaussian noise, as it is and as Sobel edges. An MLP with one hidden layer learns from the representations of
    training images which way it was, and is tested on held-out images. Near chance (1/2; 1/4 for rotations) the
    representation is invariant. Of an encoder without a projection head only h is measured; of gray images all but the
    first task.

    Examples:
        >>> Invariances().run(encoder, tfcontrastive.data.load("embedded"))
        {'invariances_h_rotation_accuracy': ..., 'invariances_h_noise_accuracy': ..., ...}

    Source: https://arxiv.org/abs/2002.05709, section 4.2 and Table 3. The MLP's width, its training (Adam, stopped on a
    tenth of the training part) and the noise are not published; they are ours.
    """

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]:
        source = taken_by(encoder, source)
        eval_split = self.eval_split or held_out_split(source)
        size = self.image_size or default_image_size(encoder, source, eval_split)
        extract = FeatureExtractor(encoder)
        tasks = {name: ways for name, ways in TASKS.items() if name != "color" or source.channels == 3}
        if "color" not in tasks:
            logging.info("invariances: images of %d channels; color against gray is left out.", source.channels)
        ways = list(dict.fromkeys(way for ways in tasks.values() for way in ways))

        def shown(split, limit):
            batches = data.eval_batches(
                source,
                split,
                batch_size=self.eval_batch_size,
                image_size=size,
                limit=limit,
                preprocessing=data.Preprocessing.of(encoder),
            )
            return {way: extract(self._altered(batches, way))[0] for way in ways}

        train, test = shown(self.train_split, self.train_images), shown(eval_split, self.eval_images)
        if len(train[_original]) < _FEWEST:
            raise InputError(
                f"`train_split` must hold {_FEWEST} images or more. Received: {self.train_split!r} of {source.name}, with "
                f"{len(train[_original])}."
            )
        head = getattr(encoder, "projection_head", None)
        values = {}
        for task, pair in tasks.items():
            values[f"invariances_h_{task}_accuracy"] = self._accuracy([train[w] for w in pair], [test[w] for w in pair])
            if head is not None:
                projections = ([projected(head, part[way]) for way in pair] for part in (train, test))
                values[f"invariances_g_{task}_accuracy"] = self._accuracy(*projections)
        return values

    def _altered(self, batches: tf.data.Dataset, way: Callable[..., tf.Tensor]) -> tf.data.Dataset:
        def alter(number, batch):
            count = tf.shape(batch["image"])[0]
            seeds = augment.row_seeds(self.seed, tf.cast(number, tf.int32), tf.range(count), 1)[:, 0]
            return {**batch, "image": way(batch["image"], seeds, self.noise)}

        return batches.enumerate().map(alter, num_parallel_calls=tf.data.AUTOTUNE)

    def _accuracy(self, train: list[np.ndarray], test: list[np.ndarray]) -> float:
        """Of an MLP that tells the ways apart, from one array `[N, F]` a way."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        from threadpoolctl import threadpool_limits

        def joined(parts):
            labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
            return checked_features("features", np.concatenate(parts)), labels

        mlp = MLPClassifier((self.hidden_units,), early_stopping=True, max_iter=self.max_epochs, random_state=self.seed)
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore", ConvergenceWarning)  # `max_epochs` is a setting, shown with the result
            return float(make_pipeline(StandardScaler(), mlp).fit(*joined(train)).score(*joined(test)))
