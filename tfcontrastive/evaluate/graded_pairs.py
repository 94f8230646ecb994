"""Graded pairs: whether similarities rise as people's grades do."""

from __future__ import annotations

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.checks import checked_features


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation: Pearson's of the ranks, where equal values share the mean of their ranks.

    Args:
        x: `[N]` numbers, N >= 2.
        y: `[N]` numbers.

    Returns:
        a number in [-1, 1]; NaN where all of one side are equal.

    Raises:
        InputError: other shapes, or a value that is not finite.

    Examples:
        >>> round(spearman([1.0, 2.0, 3.0], [10.0, 30.0, 20.0]), 4)
        0.5
    """
    sides = {"x": np.asarray(x, np.float64), "y": np.asarray(y, np.float64)}
    for name, values in sides.items():
        if values.ndim != 1 or len(values) < 2 or len(values) != len(sides["x"]):
            raise InputError(
                f"`{name}` must be two numbers or more, as many as of `x`. Received: shape {values.shape}."
            )
        if not np.isfinite(values).all():
            raise InputError(
                f"`{name}` must be finite. Received: NaN or infinity in row {np.argmin(np.isfinite(values))}."
            )
    first, second = (_ranks(values) for values in sides.values())
    first, second = first - first.mean(), second - second.mean()
    length = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / length) if length else float("nan")


def graded_pairs(queries: np.ndarray, keys: np.ndarray, grades: np.ndarray) -> dict[str, float]:
    """How well the cosines of pairs agree with their grades, over all pairs at once.

    Args:
        queries: `[N, D]` float, of one side of each pair.
        keys: `[N, D]` float, of the other.
        grades: `[N]` numbers, higher for what is to be nearer.

    Returns:
        `spearman`, and `pearson` of the values themselves.

    Raises:
        InputError: shapes that do not fit, or values that are not finite.

    Examples:
        >>> graded_pairs(np.eye(2)[[0, 0, 1]], np.eye(2)[[0, 1, 1]], [5, 1, 4])["spearman"].__round__(3)
        0.866

    Source: Gao, Yao and Chen (SimCSE), arXiv 2104.08821, section 6.1: Spearman's, of all pairs together.
    """
    queries = checked_features("queries", queries)
    keys = checked_features("keys", keys, width=queries.shape[1])
    if len(queries) != len(keys):
        raise InputError(f"`keys` must have as many rows as `queries`. Received: {len(keys)} and {len(queries)}.")
    lengths = np.linalg.norm(queries, axis=1) * np.linalg.norm(keys, axis=1)
    cosines = np.einsum("nd,nd->n", queries, keys) / np.maximum(lengths, 1e-12)
    grades = np.asarray(grades, np.float64)
    found = spearman(cosines, grades)
    apart = np.std(cosines) > 0 and np.std(grades) > 0
    return {"spearman": found, "pearson": float(np.corrcoef(cosines, grades)[0, 1]) if apart else float("nan")}


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1; the mean of their ranks for equal ones."""
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[group]
