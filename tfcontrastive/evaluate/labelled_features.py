"""The features and labels of a train and a test split."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class LabelledFeatures:
    """What a frozen encoder makes of a labelled data source; everything a probe needs.

    Args:
        train_features: float32 `[N, F]`.
        train_labels: int32 `[N]` in `[0, num_classes)`.
        features: float32 `[M, F]` of the test split.
        labels: int32 `[M]`.
        num_classes: C.
    """

    train_features: np.ndarray
    train_labels: np.ndarray
    features: np.ndarray
    labels: np.ndarray
    num_classes: int

    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The four arrays in the order in which `knn` and `linear` take them."""
        return self.train_features, self.train_labels, self.features, self.labels
