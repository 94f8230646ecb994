"""Images that are there twice: byte for byte, or nearly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

_HASH_BITS, _HASH_DISTANCE = 64, 6
_DIFFERENCE = 6.0  # of 255, the mean over a thumbnail
_ROWS, _PAIRS = 512, 4096  # compared at a time
_STEP = 2.0  # of 255, that a cell must be lighter: flat areas have no more than noise


def digest(content: bytes) -> str:
    """A text that is the same for the same bytes."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def groups(digests: Sequence[str]) -> np.ndarray:
    """The same number for the same content, int64 `[N]`; numbers count from 0 in the order of first occurrence.

    Examples:
        >>> groups(["a", "b", "a"]).tolist()
        [0, 1, 0]
    """
    number: dict[str, int] = {}
    return np.array([number.setdefault(one, len(number)) for one in digests], np.int64)


def difference_hash(thumbnails: np.ndarray) -> np.ndarray:
    """64 bits an image: whether it grows lighter from each of 8 x 9 cells to the next.

    Args:
        thumbnails: uint8 `[N, S, S, C]`, S at least 9.

    Returns:
        uint8 `[N, 8]`.

    Source: the difference hash of N. Krawetz, "Kind of Like That", 2013.
    """
    gray = thumbnails.astype(np.float32).mean(axis=-1)
    side = gray.shape[1]
    rows = _cells(side, 8) @ gray @ _cells(side, 9).T
    return np.packbits((np.diff(rows, axis=2) > _STEP).reshape(len(gray), _HASH_BITS), axis=1)


def near_duplicates(thumbnails: np.ndarray, group: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of images that look alike and are not the same file: like hashes, and like thumbnails.

    Args:
        thumbnails: uint8 `[N, S, S, C]`.
        group: int `[N]`, of `groups`.

    Returns:
        (i, j) with i < j, ascending.
    """
    found: list[tuple[int, int]] = []
    hashes = difference_hash(thumbnails)
    flat = thumbnails.reshape(len(thumbnails), -1).astype(np.int16)
    signs = np.unpackbits(hashes, axis=1).astype(np.float32) * 2 - 1
    for start in range(0, len(hashes), _ROWS):
        distance = (_HASH_BITS - signs[start : start + _ROWS] @ signs.T) / 2
        first, second = np.nonzero(distance <= _HASH_DISTANCE)
        first += start
        other = (first < second) & (group[first] != group[second])
        first, second = first[other], second[other]
        for at in range(0, len(first), _PAIRS):
            i, j = first[at : at + _PAIRS], second[at : at + _PAIRS]
            alike = np.abs(flat[i] - flat[j]).mean(axis=1) <= _DIFFERENCE
            found += zip(i[alike].tolist(), j[alike].tolist(), strict=True)
    return found


def together(group: np.ndarray, near: Sequence[tuple[int, int]], labels: np.ndarray) -> np.ndarray:
    """What must lie on one side of a hold-out: the same number for the same content, and for what looks nearly alike.

    Likeness is handed on: a with b and b with c are three together. A class whose images would all be one group keeps its
    groups of content, for otherwise none of it could be held out.

    Args:
        group: int `[N]`, of `groups`.
        near: pairs of images that look alike, by their positions.
        labels: int `[N]`.

    Returns:
        int `[N]`.

    Examples:
        >>> together(np.arange(5), [(0, 1), (1, 4)], np.zeros(5, int)).tolist()
        [0, 0, 2, 3, 0]
    """
    joined = np.array(group)
    for i, j in near:
        low, high = sorted((joined[i], joined[j]))
        if low != high:
            joined[joined == high] = low
    for label in np.unique(labels):
        own = labels == label
        if len(np.unique(joined[own])) == 1:
            joined[own] = group[own]
    return joined


def _cells(side: int, count: int) -> np.ndarray:
    """Means over `count` stretches of `side` pixels: float32 `[count, side]`."""
    edges = np.linspace(0, side, count + 1)
    pixels = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    return (np.maximum(overlap, 0) / np.diff(edges)[:, None]).astype(np.float32)
