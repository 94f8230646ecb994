"""Retrieval: how often what belongs to a query is among the keys nearest to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.checks import checked_features

_TIE = 1e-6  # of the largest similarity of a query: what float32 cannot tell apart


def retrieval(
    queries: np.ndarray,
    keys: np.ndarray,
    matches: np.ndarray | None = None,
    *,
    k: Sequence[int] = (1, 5, 10),
    normalize: bool = True,
    block: int = 1024,
) -> dict[str, float]:
    r"""Recall at k in both directions, with any number of right keys a query.

    A query is found at k if any of its right keys is among the k keys nearest to it. Keys that are as near as one
    another come in random order, of which the expectation is taken: with g wrong keys nearer than the nearest right
    ones, r right and t wrong ones as near as these, and m = k - g places left,

    $$ P(\text{found}) = 1 - \prod_{i=0}^{m-1} \frac{t - i}{t + r - i} $$

    (0 for m <= 0), so that an encoder that maps everything to one vector finds by chance. Queries without any right key
    do not count, nor do keys in the other direction.

    Args:
        queries: `[M, D]` float.
        keys: `[N, D]` float.
        matches: `[P, 2]` integers, a right pair (row of queries, row of keys) each; None: row i belongs to row i.
        k: numbers of keys that are looked at, >= 1 each.
        normalize: compare directions; False: vectors, by plain dot product, as dpr does.
        block: rows at a time; memory is that of a `block x block` matrix of similarities.

    Returns:
        for both directions, `query_to_key` and `key_to_query`: `<direction>_recall_<k>` in [0, 1];
        `<direction>_chance_<k>`, that of a random order; `<direction>_rank`, the median over queries of the rank of the
        nearest right key, from 1, in the middle of those as near.

    Raises:
        InputError: vectors that are not finite or of other widths, rows that there are not, or no pair.

    Examples:
        >>> found = retrieval(np.eye(3), np.eye(3)[[0, 2, 1]], k=[1])
        >>> round(found["query_to_key_recall_1"], 4), round(found["query_to_key_chance_1"], 4)
        (0.3333, 0.3333)
    """
    keys = checked_features("keys", keys)
    queries = checked_features("queries", queries, width=keys.shape[1])
    if not len(k) or min(k) < 1:
        raise InputError(f"`k` must be one or more numbers >= 1. Received: k={tuple(k)}.")
    if block < 1:
        raise InputError(f"`block` must be >= 1. Received: block={block}.")
    pairs = _pairs(matches, len(queries), len(keys))
    if normalize:
        queries, keys = _unit(queries), _unit(keys)
    found: dict[str, float] = {}
    directions = {"query_to_key": (queries, keys, pairs), "key_to_query": (keys, queries, pairs[:, ::-1])}
    for direction, (rows, others, right) in directions.items():
        found |= {f"{direction}_{name}": value for name, value in _one_way(rows, others, right, k, block).items()}
    return found


def _pairs(matches: np.ndarray | None, queries: int, keys: int) -> np.ndarray:
    if matches is None:
        if queries != keys:
            raise InputError(
                f"`matches` must be given where there are not as many keys as queries. Received: {queries} queries, "
                f"{keys} keys."
            )
        return np.repeat(np.arange(queries)[:, None], 2, axis=1)
    pairs = np.asarray(matches)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs) or pairs.dtype.kind not in "iu":
        raise InputError(
            f"`matches` must be integers [P, 2], a pair or more. Received: {pairs.dtype}, shape {pairs.shape}."
        )
    wrong = (pairs < 0) | (pairs >= [queries, keys])
    if wrong.any():
        pair = pairs[np.argmax(wrong.any(axis=1))].tolist()
        raise InputError(
            f"`matches` must be rows of {queries} queries and {keys} keys. Received: the pair {tuple(pair)}."
        )
    return np.unique(pairs, axis=0)


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _one_way(rows: np.ndarray, others: np.ndarray, pairs: np.ndarray, k: Sequence[int], block: int) -> dict[str, float]:
    own = _similarities(rows, others, pairs, block)
    asked, group = np.unique(pairs[:, 0], return_inverse=True)
    best = np.full(len(asked), -np.inf, np.float32)
    np.maximum.at(best, group, own)
    nearer, tied, margin = _counts(rows[asked], others, best, block)
    right = np.bincount(group)
    right_tied = np.bincount(group, weights=own >= (best - margin)[group]).astype(np.int64)
    tied = np.maximum(tied - right_tied, 0)  # of what is as near, the wrong ones
    recalls = {f"recall_{each}": float(np.mean(_found(nearer, tied, right_tied, each))) for each in k}
    zeros = np.zeros_like(nearer)
    chances = {f"chance_{each}": float(np.mean(_found(zeros, len(others) - right, right, each))) for each in k}
    # The expected place of the first of r right ones among t + r in random order is (t + r + 1) / (r + 1).
    rank = nearer + (tied + right_tied + 1) / (right_tied + 1)
    return {**recalls, **chances, "rank": float(np.median(rank))}


def _similarities(rows: np.ndarray, others: np.ndarray, pairs: np.ndarray, block: int) -> np.ndarray:
    parts = [pairs[start : start + block] for start in range(0, len(pairs), block)]
    return np.concatenate([np.einsum("pd,pd->p", rows[part[:, 0]], others[part[:, 1]]) for part in parts])


def _counts(
    rows: np.ndarray, others: np.ndarray, best: np.ndarray, block: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row how many others are nearer than its best right one, and how many as near; what counts as near."""
    nearer, tied = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    longest = float(np.sqrt(np.max(np.einsum("nd,nd->n", others, others))))
    margin = (_TIE * longest * np.linalg.norm(rows, axis=1)).astype(np.float32)
    for start in range(0, len(rows), block):
        at = slice(start, start + block)
        for first in range(0, len(others), block):
            above = rows[at] @ others[first : first + block].T - best[at, None]
            nearer[at] += np.sum(above > margin[at, None], axis=1)
            tied[at] += np.sum(np.abs(above) <= margin[at, None], axis=1)
    return nearer, tied, margin


def _found(nearer: np.ndarray, wrong: np.ndarray, right: np.ndarray, k: int) -> np.ndarray:
    """The probability that one of the right ones is among the first k: behind `nearer` all others, in random order."""
    missed = np.ones(len(nearer))
    for place in range(min(k, int(np.max(wrong + right)))):
        drawn = place < k - nearer  # whether there is such a place
        left = np.maximum(wrong - place, 0)
        missed *= np.where(drawn, left / np.maximum(wrong + right - place, 1), 1.0)
    return 1.0 - missed
