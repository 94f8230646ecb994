"""What the cloud of embeddings looks like: how many directions it fills, how its classes lie in it."""

from __future__ import annotations

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.checks import checked_features


def effective_rank(features: np.ndarray) -> float:
    """The number of directions that the features really use: exp of the entropy of the normalised singular values.

    p_i = sigma_i / sum_j sigma_j, rank = exp(-sum_i p_i log p_i). It is 1 when all features lie on one line and
    min(N, F) when they fill every direction alike; 0 for features that are all zero.

    Args:
        features: `[N, F]` float.

    Returns:
        A number in [1, min(N, F)], or 0.

    Raises:
        InputError: for features that are not finite.

    Examples:
        >>> round(effective_rank([[1.0, 0.0], [0.0, 1.0]]), 6)
        2.0

    Source: Roy and Vetterli, "The effective rank", EUSIPCO 2007; for self-supervised features Garrido et al., "RankMe",
    https://arxiv.org/abs/2210.02885.
    """
    features = checked_features("features", features).astype(np.float64)
    # The Gram matrix of the shorter side has the squared singular values as eigenvalues, at far less cost than an SVD.
    gram = features.T @ features if len(features) > features.shape[1] else features @ features.T
    sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    if sigma.sum() == 0:
        return 0.0
    p = sigma / sigma.sum()
    p = p[p > 0]
    return float(np.exp(-np.sum(p * np.log(p))))


def class_separation(features: np.ndarray, labels: np.ndarray) -> float:
    """How far the classes lie apart: 1 - mean cosine distance within classes / mean cosine distance overall.

    Every class counts alike: with d the mean of 1 - cos over all pairs of a class k and a class l (a row and itself
    included), R^2 = 1 - mean_k d(k, k) / mean_{k, l} d(k, l).

    Args:
        features: `[N, F]` float.
        labels: `[N]` integers.

    Returns:
        A number <= 1: 1 where every class is one point, about 0 where classes make no difference.

    Raises:
        InputError: for features that are not finite, or all in one direction.

    Examples:
        >>> class_separation([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]], [0, 0, 1])
        1.0

    Source: Kornblith et al., "Why Do Better Loss Functions Lead to Less Transferable Features?",
    https://arxiv.org/abs/2010.16402, section 3.3.
    """
    features = checked_features("features", features).astype(np.float64)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    # The mean cosine between two groups of unit vectors is the product of their means.
    means = np.stack([features[np.asarray(labels) == label].mean(axis=0) for label in np.unique(labels)])
    within = 1 - np.mean(np.sum(means**2, axis=1))
    overall = 1 - np.sum(means.mean(axis=0) ** 2)
    if overall < 1e-9:
        raise InputError("`features` must not all point in one direction: there is nothing to separate.")
    return float(1 - within / overall)
