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


def lidar(features: np.ndarray, *, delta: float = 1e-4) -> float:
    """LiDAR: the number of directions in which images are told apart beyond what their own views differ by.

    Of view j of image i, with m_i the mean of its views and m that of all,

        S_b = mean_i (m_i - m)(m_i - m)^T,    S_w = mean_ij (e_ij - m_i)(e_ij - m_i)^T + delta I

    rank = exp(-sum_k p_k log p_k), p the eigenvalues of S_w^-1/2 S_b S_w^-1/2 over their sum. It needs no labels, and unlike
    the effective rank it counts no direction that only noise fills.

    Args:
        features: `[N, V, F]` float, V >= 2 views of each of N >= 2 images.
        delta: > 0, keeps S_w invertible; in the features' unit, squared.

    Returns:
        A number in [1, min(N - 1, F)]; 0 where all images have one mean.

    Raises:
        InputError: for features that are not finite, of another shape, or a `delta` that is not positive.

    Examples:
        >>> apart = np.array([[[1.0, 0.0], [1.0, 0.1]], [[-1.0, 0.1], [-1.0, 0.0]]])
        >>> round(lidar(apart), 6)
        1.0

    Source: Thilak et al., "LiDAR: Sensing Linear Probing Performance in Joint Embedding SSL Architectures",
    https://arxiv.org/abs/2312.04000, section 4. Differs: no constant is added to p, whose zeros add nothing.
    """
    features = np.asarray(features)
    if features.ndim != 3 or features.shape[0] < 2 or features.shape[1] < 2:
        raise InputError(
            f"`features` must be [N, V, F], two views or more of two images or more. Received: {list(features.shape)}."
        )
    if not delta > 0:
        raise InputError(f"`delta` must be > 0. Received: delta={delta}.")
    images, views, width = features.shape
    rows = checked_features("features", features.reshape(-1, width)).astype(np.float64).reshape(features.shape)
    means = rows.mean(axis=1)
    noise = (rows - means[:, None]).reshape(-1, width)
    values, directions = np.linalg.eigh(noise.T @ noise / (images * views))
    between = (means - means.mean(axis=0)) @ directions / np.sqrt(np.maximum(values, 0) + delta)
    gram = between.T @ between if images > width else between @ between.T
    found = np.maximum(np.linalg.eigvalsh(gram), 0)
    if found.sum() == 0:
        return 0.0
    p = found / found.sum()
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
