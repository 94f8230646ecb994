"""How sure one can be of a figure that a limited number of test examples gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tfcontrastive.config import InputError


def share_interval(right: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share, such as an accuracy: all chances under which such a count is no rarity.

    With a = (1 - confidence) / 2 and X ~ Binomial(count, p), the ends are the p at which P(X >= right) = a and
    P(X <= right) = a, or 0 where none is right and 1 where all are. So ten right of ten are 69% to 100%, of which
    resampling, that never draws an error which it has not seen, would say 100% to 100%. It holds the true share at least
    as often as it says, and speaks of the choice of test examples only, not of the chance in training.

    Args:
        right: in [0, count].
        count: of the examples, at least 1.
        confidence: in (0, 1).

    Returns:
        (low, high).

    Raises:
        InputError: a number outside its range.

    Examples:
        >>> "{:.3f} {:.3f}".format(*share_interval(10, 10))
        '0.692 1.000'

    Source: Clopper and Pearson, "The Use of Confidence or Fiducial Limits Illustrated in the Case of the Binomial", 1934.
    """
    from scipy.special import betaincinv  # takes longer to import than the rest of this room

    tail = _tail(confidence)
    if not 0 <= right <= count or count < 1:
        raise InputError(f"`right` must be among `count` examples, at least one. Received: {right} of {count}.")
    low = betaincinv(right, count - right + 1, tail) if right > 0 else 0.0
    high = betaincinv(right + 1, count - right, 1 - tail) if right < count else 1.0
    return float(low), float(high)


def bootstrap_interval(
    statistic: Callable[..., float],
    *arrays: np.ndarray,
    confidence: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """The interval that holds a statistic of the examples with the given confidence (percentile bootstrap).

    The examples are drawn anew with replacement, as many as there are, and the statistic is taken each time. The
    interval speaks of the choice of test examples only, not of the chance in training (use several seeds for that).
    It is for statistics that are no share of the examples, such as a mean over classes, and says nothing of errors that
    are too rare to have been seen; of a share, take `share_interval`.

    Args:
        statistic: maps the resampled arrays to a number.
        *arrays: `[N, ...]` each, resampled together.
        confidence: in (0, 1).
        resamples: how often to draw.
        seed: of the draws.

    Returns:
        (low, high).

    Examples:
        >>> low, high = bootstrap_interval(np.mean, np.array([True] * 80 + [False] * 20))
        >>> bool(0.70 < low < 0.75 < 0.85 < high < 0.90)
        True

    Source: Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979.
    """
    tail = _tail(confidence)
    arrays = tuple(np.asarray(array) for array in arrays)
    rng = np.random.default_rng(seed)
    size = len(arrays[0])
    draws = (rng.integers(size, size=size) for _ in range(resamples))
    values = [statistic(*(array[rows] for array in arrays)) for rows in draws]
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _tail(confidence: float) -> float:
    """The chance that is left out on either side."""
    if not 0 < confidence < 1:
        raise InputError(f"`confidence` must lie in (0, 1). Received: confidence={confidence}.")
    return (1 - confidence) / 2
