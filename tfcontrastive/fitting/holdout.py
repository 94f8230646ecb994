"""Which images are held out: a fifth of each class, drawn by a seed, with images that are alike on one side."""

from __future__ import annotations

import numpy as np

FRACTION = 0.2


def hold_out(labels: np.ndarray, group: np.ndarray, *, fraction: float = FRACTION, seed: int = 0) -> np.ndarray:
    """A random part of the images, of each class alike.

    Images of one group are all held out or all kept; a group belongs to the class of its first image. Of a class of n
    images about `fraction * n` are held out, at least one group and never all: a class of a single group is kept.

    Args:
        labels: int `[N]`; -1, no label, is a class like others.
        group: int `[N]`, the same number for what must lie on one side, as `duplicates.together` gives it.
        fraction: in (0, 1).
        seed: of the choice.

    Returns:
        int64 `[M]`, positions, ascending.

    Examples:
        >>> len(hold_out(np.repeat([0, 1], 10), np.arange(20)))
        4
    """
    labels, group = np.asarray(labels), np.asarray(group)
    rng = np.random.default_rng(seed)
    _, first, inverse, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    of_group = labels[first]
    out = np.zeros(len(first), bool)
    for label in np.unique(of_group):
        own = rng.permutation(np.flatnonzero(of_group == label))
        if len(own) < 2:
            continue
        wanted = fraction * size[own].sum()
        taken = 0
        for unit in own[:-1]:
            # A group of many copies is passed over where it would take the part farther from what is wanted.
            if abs(taken + size[unit] - wanted) > abs(taken - wanted):
                continue
            out[unit] = True
            taken += size[unit]
            if taken >= wanted:
                break
        if not taken:
            out[own[np.argmin(size[own])]] = True
    return np.flatnonzero(out[inverse])
