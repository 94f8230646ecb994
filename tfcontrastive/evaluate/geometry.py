"""What the cloud of embeddings looks like: alarms for collapse."""

from __future__ import annotations

import numpy as np

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


def embedding_std(features: np.ndarray) -> float:
    """The standard deviation of the unit-length features, averaged over their dimensions.

    It is 1 / sqrt(F) for features spread evenly over the sphere, and 0 when all have collapsed into one point.

    Args:
        features: `[N, F]` float.

    Returns:
        A number in [0, 1 / sqrt(F)].

    Raises:
        InputError: for features that are not finite.

    >>> embedding_std([[1.0, 0.0], [2.0, 0.0]])
    0.0

    Source: Chen and He, "Exploring Simple Siamese Representation Learning", section 4.1, https://arxiv.org/abs/2011.10566.
    """
    features = checked_features("features", features).astype(np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    return float(np.mean(np.std(features / np.maximum(lengths, 1e-12), axis=0)))
