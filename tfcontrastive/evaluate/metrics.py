"""Accuracies from class scores."""

from __future__ import annotations

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.intervals import share_interval


def top_k_hits(scores: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Whether each example's label is among its k highest scores.

    Equal scores rank in class order. A score of -inf marks a class that was not predicted at all: it is never a hit.

    Args:
        scores: `[N, C]`, higher is likelier.
        labels: `[N]` integers in `[0, C)`.
        k: at least 1; above C it counts as C.

    Returns:
        bool `[N]`.
    """
    if k < 1:
        raise InputError(f"`k` must be >= 1. Received: k={k}.")
    scores, labels = np.asarray(scores), np.asarray(labels)
    own = np.take_along_axis(scores, labels[:, None], axis=1)
    earlier = np.arange(scores.shape[1]) < labels[:, None]
    rank = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
    return (rank < k) & (own[:, 0] > -np.inf)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, k: int = 1) -> float:
    """The share of examples whose label is among the k highest scores.

    Args:
        scores: `[N, C]`, higher is likelier.
        labels: `[N]` integers in `[0, C)`.
        k: at least 1.

    Returns:
        A number in [0, 1].

    Examples:
        >>> top_k_accuracy([[0.1, 0.9], [0.8, 0.2]], [1, 1])
        0.5
    """
    return float(np.mean(top_k_hits(scores, labels, k)))


def mean_per_class_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the classes of the share of each class that is predicted right.

    Only the classes that occur in `labels` count, so a class absent from a test split does no harm. It is the metric of
    unbalanced sets (Pets, Caltech-101, ... in SimCLR's Table 8, https://arxiv.org/abs/2002.05709).

    Args:
        predictions: `[N]` predicted classes, integers.
        labels: `[N]` true classes, integers.

    Returns:
        A number in [0, 1].

    Examples:
        >>> mean_per_class_accuracy([0, 0, 0, 0], [0, 0, 0, 1])
        0.5
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    _, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    return float(np.mean(np.bincount(index, weights=predictions == labels) / counts))


def accuracies(prefix: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The accuracies every protocol reports, named `<prefix>_top1` and so on.

    Args:
        prefix: the protocol.
        scores: `[N, C]`, higher is likelier.
        labels: `[N]` integers in `[0, C)`.

    Returns:
        `top1`, `top5`, `mean_per_class` and the 95% interval of top-1, see `share_interval`, as `top1_low` and `top1_high`.

    Examples:
        >>> accuracies("knn", np.eye(3), np.array([0, 1, 2]))["knn_top1"]
        1.0
    """
    first, labels = top_k_hits(scores, labels, 1), np.asarray(labels)
    low, high = share_interval(int(first.sum()), len(first))
    return {
        f"{prefix}_top1": float(np.mean(first)),
        f"{prefix}_top5": top_k_accuracy(scores, labels, 5),
        f"{prefix}_mean_per_class": mean_per_class_accuracy(np.where(first, labels, -1), labels),
        f"{prefix}_top1_low": low,
        f"{prefix}_top1_high": high,
    }
