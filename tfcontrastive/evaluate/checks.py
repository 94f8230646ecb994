"""What every evaluation asks of its features and labels before it starts."""

from __future__ import annotations

import numpy as np

from tfcontrastive.config import InputError

_ROWS_AT_A_TIME = 65536


def checked_features(name: str, features: np.ndarray, width: int | None = None) -> np.ndarray:
    """Features as a float32 array `[N, F]` without NaN or infinity.

    Args:
        name: the argument's name, for the error.
        features: `[N, F]`, N and F at least 1.
        width: the F that it must have.

    Raises:
        InputError: when the shape is another, or a value is not finite.
    """
    features = np.asarray(features, np.float32)
    if features.ndim != 2 or 0 in features.shape:
        raise InputError(f"`{name}` must be a non-empty array [N, F]. Received: shape {features.shape}.")
    if width is not None and features.shape[1] != width:
        raise InputError(f"`{name}` must have {width} columns, as in training. Received: {features.shape[1]}.")
    # In pieces, so that the mask of a million rows is never held.
    for start in range(0, len(features), _ROWS_AT_A_TIME):
        finite = np.isfinite(features[start : start + _ROWS_AT_A_TIME]).all(axis=1)
        if not finite.all():
            row = start + int(np.argmin(finite))
            raise InputError(f"`{name}` must be finite; did training diverge? Received: NaN or infinity in row {row}.")
    return features


def checked_labels(name: str, labels: np.ndarray, length: int, num_classes: int) -> np.ndarray:
    """Labels as an int array `[N]`, each in `[0, num_classes)`.

    Raises:
        InputError: when the length differs from `length`, a label is missing (-1), out of range or not an integer.
    """
    labels = np.asarray(labels)
    if labels.shape != (length,):
        raise InputError(f"`{name}` must have one label for each of the {length} rows. Received: shape {labels.shape}.")
    if labels.dtype.kind not in "iu":
        raise InputError(f"`{name}` must be integers. Received: dtype {labels.dtype}.")
    wrong = (labels < 0) | (labels >= num_classes)
    if wrong.any():
        row = int(np.argmax(wrong))
        hint = " (-1 means unlabelled, which cannot be evaluated)" if labels[row] == -1 else ""
        raise InputError(f"`{name}` must lie in [0, {num_classes}){hint}. Received: {labels[row]} in row {row}.")
    return labels.astype(np.int64)


def check_classes(train_labels: np.ndarray, labels: np.ndarray) -> None:
    """Every class that is tested must have been trained; the other way round is fine.

    Raises:
        InputError: that lists the classes which only the test split has.
    """
    unseen = np.setdiff1d(labels, train_labels)
    if unseen.size:
        shown = ", ".join(map(str, unseen[:10])) + (", ..." if unseen.size > 10 else "")
        raise InputError(f"`labels` must hold classes of `train_labels` only; do the splits match? Received: {shown}.")


def checked_splits(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray | None,
    num_classes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]:
    """A train and a test split, checked on their own and against each other."""
    train_features = checked_features("train_features", train_features)
    train_labels = checked_labels("train_labels", train_labels, len(train_features), num_classes)
    features = checked_features("features", features, width=train_features.shape[1])
    if labels is not None:
        labels = checked_labels("labels", labels, len(features), num_classes)
        check_classes(train_labels, labels)
    return train_features, train_labels, features, labels
