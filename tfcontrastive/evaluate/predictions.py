"""What a classifier says of each test image."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Predictions:
    """The class that each test image was given, and how surely.

    Args:
        labels: `[M]` true classes, integers.
        classes: `[M]` given ones.
        confidences: float32 `[M]` their probabilities, in [0, 1].
    """

    labels: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray

    @classmethod
    def of_logits(cls, labels: np.ndarray, logits: np.ndarray) -> Predictions:
        """Of logits `[M, C]`, -inf for a class that cannot be: p = softmax(logits).

        Examples:
            >>> Predictions.of_logits([1], np.log([[1.0, 3.0]])).confidences.tolist()
            [0.75]
        """
        logits = np.asarray(logits, np.float64)
        return cls.of_votes(labels, np.exp(logits - logits.max(axis=1, keepdims=True)))

    @classmethod
    def of_votes(cls, labels: np.ndarray, votes: np.ndarray) -> Predictions:
        """Of votes `[M, C]` >= 0, or -inf for a class without one: p is a class's part of all of them."""
        votes = np.maximum(votes, 0)
        classes = votes.argmax(axis=1)
        confidences = votes.max(axis=1) / np.maximum(votes.sum(axis=1), 1e-30)
        return cls(np.asarray(labels), classes, confidences.astype(np.float32))
