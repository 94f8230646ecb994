"""Orders of a puzzle's tiles that are as different from one another as can be had."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from tfcontrastive.config import InputError


@functools.lru_cache(maxsize=4)
def distant_permutations(count: int, pieces: int = 9) -> np.ndarray:
    """A set of permutations, chosen one after another by their distance from those that are in it.

    It begins with the identity. The next is the one whose smallest Hamming distance to those chosen is the largest; of
    several, the first in lexicographic order. So sets are the same everywhere, and a smaller one begins a larger one.

    Args:
        count: N, 1 to `pieces`!.
        pieces: what is permuted, at least 1.

    Returns:
        integers `[N, pieces]`: piece `[i, k]` is at place k in permutation i.

    Raises:
        InputError: more than there are.

    Examples:
        >>> distant_permutations(4, pieces=3)
        array([[0, 1, 2],
               [1, 2, 0],
               [2, 0, 1],
               [0, 2, 1]])

    Source: Noroozi and Favaro, arXiv 1603.09246, algorithm 1, which takes the largest mean distance; the published sets of
    that rule hold pairs of distance 2, and hardly differ from random ones.
    """
    most = math.factorial(pieces)
    if not 1 <= count <= most:
        raise InputError(f"`num_permutations` must be 1 to {most:,}. Received: num_permutations={count}.")
    every = np.array(list(itertools.permutations(range(pieces))), np.uint8)
    columns = np.ascontiguousarray(every.T)  # compared place by place, several times faster than row by row
    least = np.full(most, pieces + 1, np.uint8)
    chosen = [0]
    while len(chosen) < count:
        distance = np.zeros(most, np.uint8)
        for column, piece in zip(columns, every[chosen[-1]], strict=True):
            distance += column != piece
        np.minimum(least, distance, out=least)
        chosen.append(int(np.argmax(least)))
    return every[chosen].astype(np.int64)
