"""What can be said of features without labels: retrieval of an image by its own view, clusters, outliers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive import augment, evaluate

_CLUSTERED = 3_000  # images at most
_MOST_CLUSTERS = 20


@dataclasses.dataclass(frozen=True)
class Clusters:
    """Groups of images by k-means.

    Attributes:
        assigned: int `[N]`, the cluster of each image, the largest first.
        silhouette: of the chosen number, in [-1, 1]: how far they lie apart.
    """

    assigned: np.ndarray
    silhouette: float

    @property
    def count(self) -> int:
        return int(self.assigned.max()) + 1


def retrieval(
    encoder: Callable[..., tf.Tensor], images: np.ndarray, policy: augment.Policy, *, seed: int = 0, batch: int = 256
) -> float:
    """How often an image is the nearest of all to its own augmented view, by cosine similarity; see `found_by_view`."""
    return float(np.mean(found_by_view(encoder, images, policy, seed=seed, batch=batch)))


def found_by_view(
    encoder: Callable[..., tf.Tensor], images: np.ndarray, policy: augment.Policy, *, seed: int = 0, batch: int = 256
) -> np.ndarray:
    """Whether each image is the nearest of all to its own augmented view, by cosine similarity.

    Args:
        encoder: images `[B, S, S, C]` in [0, 1] -> `[B, F]`.
        images: float32 `[N, S, S, C]` in [0, 1], S a fixed size.
        policy: that makes the views.
        seed: of the views.
        batch: images at a time.

    Returns:
        bool `[N]`; by chance one in N.
    """
    return found_among(
        features_of_views(encoder, images, policy, seed=seed, batch=batch),
        np.concatenate([_features(encoder, images[start : start + batch]) for start in range(0, len(images), batch)]),
    )


def found_among(views: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Whether each image is the nearest of all to its view: bool `[N]`, of `[N, F]` features of each."""
    _, rows = evaluate.nearest_neighbours(views, features, k=1)
    return rows[:, 0] == np.arange(len(features))


def features_of_views(
    encoder: Callable[..., tf.Tensor], images: np.ndarray, policy: augment.Policy, *, seed: int = 0, batch: int = 256
) -> np.ndarray:
    """The features of a random view of each image, float32 `[N, F]`; the arguments are those of `found_by_view`."""
    geometry, view, size = policy.geometries[0], policy.views[0], images.shape[1]
    seeds = augment.row_seeds(seed, 0, tf.range(len(images)), 2)
    found = []
    for start in range(0, len(images), batch):
        some, own = tf.constant(images[start : start + batch]), seeds[start : start + batch]
        crops = augment.random_view_geometry(some, own[:, 0], geometry, size)
        found.append(_features(encoder, view(crops, own[:, 1])))
    return np.concatenate(found)


def by_views(
    encoder: Callable[..., tf.Tensor], images: np.ndarray, policy: augment.Policy, *, seeds: Sequence[int]
) -> tuple[np.ndarray, float]:
    """How often each image is found by its own views, float `[N]`, and their LiDAR.

    Args:
        encoder, images, policy: as in `found_by_view`; N >= 2.
        seeds: of the views of each image, two or more.
    """
    features = np.concatenate([_features(encoder, images[start : start + 256]) for start in range(0, len(images), 256)])
    views = [features_of_views(encoder, images, policy, seed=seed) for seed in seeds]
    found = np.mean([found_among(one, features) for one in views], axis=0)
    return found, evaluate.lidar(np.stack(views, axis=1))


def clusters(features: np.ndarray, *, seed: int = 0) -> Clusters | None:
    """Groups of the images, as many as lie apart best by the silhouette; None of fewer than eight different images.

    Args:
        features: `[N, F]`; of more than 3,000 these many, spread evenly, decide where the groups lie.
        seed: of k-means.
    """
    from sklearn.cluster import KMeans  # slow to import
    from sklearn.decomposition import PCA
    from sklearn.metrics import silhouette_score
    from threadpoolctl import threadpool_limits

    unit = _unit(features)
    some = unit[np.unique(np.linspace(0, len(unit) - 1, min(_CLUSTERED, len(unit))).astype(int))]
    different = len(np.unique(some.round(5), axis=0))
    if different < 8:
        return None
    best: tuple[float, KMeans] | None = None
    with threadpool_limits(1):
        reduce = PCA(min(32, *some.shape), random_state=seed).fit(some)
        points = reduce.transform(some)
        for count in sorted({2, 3, 4, 5, 6, 8, 10, 12, 16, _MOST_CLUSTERS}):
            if count > different // 4:
                break
            found = KMeans(count, n_init=3, random_state=seed).fit(points)
            score = silhouette_score(points, found.labels_, sample_size=min(1_000, len(points)), random_state=seed)
            if best is None or score > best[0]:
                best = float(score), found
        if best is None:
            return None
        assigned = best[1].predict(reduce.transform(unit))
    order = np.argsort(-np.bincount(assigned, minlength=best[1].n_clusters), kind="stable")
    return Clusters(np.argsort(order)[assigned], best[0])


def outliers(features: np.ndarray, *, k: int = 5) -> np.ndarray:
    """How far each image lies from others: 1 - the cosine similarity to its k-th neighbour; float `[N]`."""
    count = min(k + 1, len(features))
    similarity, _ = evaluate.nearest_neighbours(features, features, k=count)
    return 1 - similarity[:, -1]


def _features(encoder: Callable[..., tf.Tensor], images: Any) -> np.ndarray:
    return tf.cast(encoder(tf.constant(images), training=False), tf.float32).numpy()


def _unit(features: np.ndarray) -> np.ndarray:
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
