"""What encoders are worth on the images: features of both splits, and with labels kNN and a linear probe, beside chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import data, evaluate
from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.config.adapt import AdaptConfig

MOST = 20_000
"""Images of a split that are measured, chosen evenly; a probe of more takes minutes and says the same."""

RAW_SIZE = 32
"""Pixels a side of the images whose bare pixels are measured."""


@dataclasses.dataclass(frozen=True)
class Features:
    """What an encoder makes of the images.

    Attributes:
        train, test: float32 `[N, F]` and `[M, F]`; no rows of what is not there.
        train_labels, test_labels: int `[N]` and `[M]`, -1 where there is none.
        num_classes: None without labels.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    num_classes: int | None

    def labelled(self) -> evaluate.LabelledFeatures | None:
        """Of images with labels, and of the held-out ones of classes that are trained on; None where there are none."""
        if self.num_classes is None:
            return None
        train = self.train_labels >= 0
        test = np.isin(self.test_labels, np.unique(self.train_labels[train]))
        if not test.any() or len(np.unique(self.train_labels[train])) < 2:
            return None
        return evaluate.LabelledFeatures(
            self.train[train], self.train_labels[train], self.test[test], self.test_labels[test], self.num_classes
        )

    def everywhere(self) -> np.ndarray:
        """Of all images, train first."""
        return np.concatenate([self.train, self.test])

    def all_labels(self) -> np.ndarray:
        """Their labels."""
        return np.concatenate([self.train_labels, self.test_labels])


@dataclasses.dataclass(frozen=True)
class Measured:
    """One encoder.

    Attributes:
        name: raw_pixels, random, given (the weights that training started from), trained, fine_tuned or supervised.
        features: what it makes of the images.
        metrics: `knn_top1`, `linear_top1` and others by name, where they could be measured.
        seconds: that it was trained for.
    """

    name: str
    features: Features
    metrics: dict[str, float]
    seconds: float = 0.0

    @property
    def title(self) -> str:
        """Its name in words."""
        words = {"random": "untrained", "given": "starting weights", "trained": "trained, no labels"}
        return words.get(self.name, self.name.replace("_", " "))


@dataclasses.dataclass(frozen=True)
class Measure:
    """How encoders are measured on the images of a run.

    Args:
        config: of the run.
        source: its images.
        split: the held-out ones; None: there are none.
        preprocessing: how images are cropped and resized; None: as the run's own encoder wants them.
    """

    config: TrainConfig | AdaptConfig
    source: data.Source
    split: str | None
    preprocessing: data.Preprocessing | None = None

    def __call__(self, name: str, encoder: Callable[..., tf.Tensor], seconds: float = 0.0) -> Measured:
        """One encoder, measured."""
        features = self.features(encoder)
        return Measured(name, features, self.metrics(features), seconds)

    def raw_pixels(self) -> Measured:
        """The images' own pixels, at most `RAW_SIZE` a side."""
        size = min(self.config.data.image_size, RAW_SIZE)
        shape = (size, size, self.source.channels)
        flat = keras.Sequential([keras.Input(shape), keras.layers.Flatten()])
        features = self.features(flat, size)
        return Measured("raw_pixels", features, self.metrics(features))

    def features(self, encoder: Callable[..., tf.Tensor], size: int | None = None) -> Features:
        """The features of both splits."""
        extract = evaluate.FeatureExtractor(encoder)
        train = extract(self.batches(self.train_split, size))
        test = extract(self.batches(self.split, size)) if self.split is not None else (train[0][:0], train[1][:0])
        return Features(*train, *test, num_classes=self.source.num_classes)

    @property
    def train_split(self) -> str:
        """The images that are measured on beside the held-out ones."""
        split = self.config.data.train_split
        return f"{split}[:{MOST}]" if "[" not in split and self.source.num_examples(split) > MOST else split

    def batches(self, split: str, size: int | None = None) -> tf.data.Dataset:
        """The images of a split, as the encoder sees them."""
        return data.eval_batches(
            self.source,
            split,
            batch_size=self.config.loop.eval_batch_size,
            image_size=size or self.config.data.image_size,
            limit=MOST,
            preprocessing=self.preprocessing or data.Preprocessing.of_run(self.config.encoder, self.config.data),
        )

    def some_images(self, most: int) -> np.ndarray:
        """The first images that are measured, held-out ones where there are any: float32 `[N, S, S, C]`, N <= most."""
        images: list[np.ndarray] = []
        for batch in self.batches(self.split or self.train_split):
            images.append(batch["image"].numpy())
            if sum(map(len, images)) >= most:
                break
        return np.concatenate(images)[:most]

    def metrics(self, features: Features) -> dict[str, float]:
        """kNN and linear accuracy with 95% intervals, where there are labels, and the effective rank."""
        found = {"effective_rank": evaluate.effective_rank(features.everywhere())}
        labelled = features.labelled()
        if labelled is None:
            return found
        loop = self.config.loop
        sizes = np.bincount(labelled.train_labels)[np.unique(labelled.train_labels)]
        found |= evaluate.KNN(k=neighbours_of(sizes, loop.knn_k), temperature=loop.knn_temperature).measure(labelled)
        if sizes.max() >= 2:
            found |= evaluate.Linear(seed=loop.seed).measure(labelled)
        return found


def neighbours_of(class_sizes: np.ndarray, most: int) -> int:
    """How many neighbours vote: a quarter of the smallest class, lest a large class outvote it wherever they touch.

    Args:
        class_sizes: training images of each class, >= 1.
        most: that vote in any case.

    Examples:
        >>> [neighbours_of(np.array(sizes), 200) for sizes in ([1000, 1000], [128, 79], [2, 9])]
        [200, 20, 1]
    """
    return int(np.clip(round(class_sizes.min() / 4), 1, most))


def bare_pixels(images: tf.Tensor, training: bool = False) -> tf.Tensor:
    """Images `[B, S, S, C]` -> their pixels, at most `RAW_SIZE` a side, `[B, F]`."""
    del training
    if images.shape[1] > RAW_SIZE:
        images = tf.image.resize(images, [RAW_SIZE, RAW_SIZE], antialias=True)
    return tf.reshape(images, [tf.shape(images)[0], -1])


def chance(features: Features) -> dict[str, float]:
    """What always naming the most frequent class would get right, and what drawing a class at random would."""
    labelled = features.labelled()
    if labelled is None:
        return {}
    counts = np.bincount(labelled.train_labels, minlength=labelled.num_classes)
    often = float(np.mean(labelled.labels == counts.argmax()))
    return {"knn_top1": often, "linear_top1": often, "uniform": 1 / int((counts > 0).sum())}


def require_finite(measured: Measured) -> None:
    """Refuses features that nothing can be measured on. Raises InputError."""
    if not np.isfinite(measured.features.everywhere()).all():
        raise InputError(f"the {measured.title} encoder must give finite features. Received: NaN or infinite ones.")
