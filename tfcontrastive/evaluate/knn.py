"""Weighted k-nearest-neighbour classification: the probe that trains nothing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive.config import InputError
from tfcontrastive.config.protocols.knn import KNNSettings
from tfcontrastive.data.bag import Bag
from tfcontrastive.evaluate.bags import bag_named, bag_of, bag_settings
from tfcontrastive.evaluate.checks import checked_splits
from tfcontrastive.evaluate.evaluator import FeatureEvaluator
from tfcontrastive.evaluate.labelled_features import LabelledFeatures
from tfcontrastive.evaluate.metrics import accuracies
from tfcontrastive.evaluate.neighbours import nearest_neighbours
from tfcontrastive.evaluate.predictions import Predictions

_ROWS_AT_A_TIME = 4096


def knn_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
) -> np.ndarray:
    """The vote of each example's nearest neighbours for every class.

    score(x, c) = sum over the k training examples i nearest to x with label c of exp((s_i - s_1) / T), where s is the
    cosine similarity and s_1 that of the nearest: a factor that changes no order and keeps small T from overflowing.

    Args:
        train_features: `[N, F]` float, the memory.
        train_labels: `[N]` integers in `[0, num_classes)`.
        features: `[M, F]` float.
        num_classes: C.
        k: neighbours that vote, at least 1; above N it counts as N, with a note in the log.
        temperature: T > 0; the smaller, the more the nearest count.

    Returns:
        float32 `[M, C]`; -inf for a class without a vote.

    Raises:
        InputError: for bad numbers, features that are not finite, labels out of range.

    Examples:
        >>> knn_scores([[1.0, 0.0], [0.0, 1.0]], [0, 1], [[3.0, 0.0]], num_classes=2, k=1).tolist()
        [[1.0, -inf]]

    Source: Wu et al., "Unsupervised Feature Learning via Non-Parametric Instance Discrimination", section 3.4,
    https://arxiv.org/abs/1805.01978.
    """
    if not temperature > 0:
        raise InputError(f"`temperature` must be > 0. Received: temperature={temperature}.")
    train_features, train_labels, features, _ = checked_splits(
        train_features, train_labels, features, None, num_classes
    )
    if k > len(train_features):
        logging.info("kNN: k=%d is more than the %d training features; all of them vote.", k, len(train_features))
    similarity, row = nearest_neighbours(features, train_features, k)
    voted = train_labels[row].astype(np.int32)
    pieces = [slice(start, start + _ROWS_AT_A_TIME) for start in range(0, len(voted), _ROWS_AT_A_TIME)]
    return np.concatenate([_vote(similarity[at], voted[at], temperature, num_classes).numpy() for at in pieces])


def fair_k(k: int, train_labels: np.ndarray) -> int:
    """Neighbours that may vote: k, but at most the images of the smallest class, which more would outvote by number alone.

    Args:
        k: at least 1.
        train_labels: `[N]` integers, of the memory.

    Examples:
        >>> fair_k(200, np.array([0, 0, 0, 1, 1]))
        2
    """
    smallest = int(np.unique(train_labels, return_counts=True)[1].min())
    if k > smallest:
        logging.info("kNN: k=%d in place of %d, as the smallest class has no more training images.", smallest, k)
    return min(k, smallest)


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([], tf.float32),
        tf.TensorSpec([], tf.int32),
    ]
)
def _vote(similarity, voted, temperature, num_classes):
    weights = tf.exp((similarity - similarity[:, :1]) / temperature)
    queries = tf.shape(voted)[0]
    # One segment a (query, class): no one-hot [M, k, C] is ever held.
    segment = tf.range(queries)[:, None] * num_classes + voted
    scores = tf.math.unsorted_segment_sum(weights, segment, queries * num_classes)
    scores = tf.reshape(scores, [queries, num_classes])
    return tf.where(scores > 0, scores, -float("inf"))


def knn(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    k: int = 200,
    temperature: float = 0.1,
) -> dict[str, float]:
    """The accuracy of a weighted k-nearest-neighbour classifier on cosine similarity.

    Where the memory is a mere sample, which may lack a class, use `accuracies("knn", knn_scores(...), labels)`.

    Args:
        train_features: `[N, F]` float, the memory.
        train_labels: `[N]` integers in `[0, num_classes)`.
        features: `[M, F]` float, of the test examples.
        labels: `[M]` integers; only classes that `train_labels` holds. Not every class needs to occur.
        num_classes: C.
        k: neighbours that vote, at least 1; above N it counts as N.
        temperature: T > 0 of the weights exp(s / T).

    Returns:
        `knn_top1`, `knn_top5`, `knn_mean_per_class`, `knn_top1_low`, `knn_top1_high` (see `accuracies`).

    Raises:
        InputError: for bad numbers, features that are not finite, labels out of range, classes that only the test has.

    Examples:
        >>> knn([[1.0, 0.0], [0.0, 1.0]], [0, 1], [[3.0, 0.1]], [0], num_classes=2)["knn_top1"]
        1.0

    Source: Wu et al., https://arxiv.org/abs/1805.01978, section 3.4.
    """
    train_features, train_labels, features, labels = checked_splits(
        train_features, train_labels, features, labels, num_classes
    )
    scores = knn_scores(train_features, train_labels, features, num_classes=num_classes, k=k, temperature=temperature)
    return accuracies("knn", scores, labels)


@dataclasses.dataclass(frozen=True)
class KNN(KNNSettings, FeatureEvaluator):
    """Weighted k-nearest-neighbour classification of frozen features by cosine similarity.

    Examples:
        >>> KNN(k=20).run(encoder, tfcontrastive.data.load("embedded"))
        {'knn_top1': ..., 'knn_top5': ..., ...}

    `knn_k` tells how many neighbours voted; `knn` and `knn_scores` take k as it is.
    """

    def measure(self, features: LabelledFeatures) -> dict[str, float]:
        return self.measured(features)[0]

    def measured(self, features: LabelledFeatures) -> tuple[dict[str, float], Predictions]:
        memory, memory_labels, queries, labels = checked_splits(*features.arrays(), features.num_classes)
        k = fair_k(self.k, memory_labels)
        votes = knn_scores(
            memory, memory_labels, queries, num_classes=features.num_classes, k=k, temperature=self.temperature
        )
        values = {**accuracies("knn", votes, labels), "knn_k": float(k)}
        return bag_named("knn", values, self.bag), Predictions.of_votes(labels, votes)

    @property
    def bag(self) -> Bag | None:
        return bag_of(self)

    @property
    def settings(self) -> dict[str, Any]:
        """What the values depend on."""
        names = ("train_split", "eval_split", "image_size", "k", "temperature")
        return {**{name: getattr(self, name) for name in names}, **bag_settings(self)}
