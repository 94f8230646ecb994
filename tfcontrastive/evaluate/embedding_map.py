"""A map of the embedding in two dimensions."""

from __future__ import annotations

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.evaluate.checks import checked_features

_TSNE_AT_MOST = 3000
_DIMENSIONS_FIRST = 50


def map_2d(features: np.ndarray, *, method: str = "auto", seed: int = 0) -> np.ndarray:
    """Places unit-length features in the plane, those that are alike close together.

    Distances between far points mean little on a t-SNE map; a PCA map keeps them but shows less. The t-SNE starts from
    the PCA, so that two maps of like features look alike.

    Args:
        features: `[N, F]` float.
        method: "tsne", "pca", or "auto": t-SNE for up to 3,000 points (a few seconds for 2,000), PCA for more.
        seed: of the solver.

    Returns:
        float32 `[N, 2]`.

    Raises:
        InputError: for features that are not finite, or an unknown method.

    Examples:
        >>> map_2d(np.eye(3), method="pca").shape
        (3, 2)

    Source: van der Maaten and Hinton, "Visualizing Data using t-SNE", JMLR 2008.
    """
    # Slow to import, and few who import this room ask for it.
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    if method not in ("auto", "tsne", "pca"):
        raise InputError(f"`method` {unknown(method, ('auto', 'tsne', 'pca'))}")
    features = checked_features("features", features)
    features = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    count, width = features.shape
    if np.ptp(features, axis=0).max() == 0:  # all in one place: nothing to arrange
        return np.zeros([count, 2], np.float32)
    with threadpool_limits(1):  # many small steps: on a busy machine threads wait far longer than they work
        points = PCA(min(_DIMENSIONS_FIRST, count, width), random_state=seed).fit_transform(features)
        points = np.pad(points, [(0, 0), (0, max(0, 2 - points.shape[1]))])
        if method == "pca" or count < 8 or (method == "auto" and count > _TSNE_AT_MOST):
            return points[:, :2].astype(np.float32)
        solver = TSNE(init="pca", perplexity=min(30, (count - 1) / 3), random_state=seed)
        return solver.fit_transform(points).astype(np.float32)
