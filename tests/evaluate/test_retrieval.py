"""Recall against a slow loop over every order of ties, and what is refused."""

import itertools

import numpy as np
import pytest

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import retrieval


def slow(rows, others, pairs, k):
    """Recall at k, its chance and the rank of the first right one, by trying every order of keys that are as near."""
    recalls, chances, ranks = [], [], []
    for i in sorted({a for a, _ in pairs}):
        right = {b for a, b in pairs if a == i}
        similarity = [round(float(np.dot(rows[i], other)), 5) for other in others]
        found, every, places = [], [], []
        for order in itertools.permutations(range(len(others))):
            every.append(bool(right & set(order[:k])))
            if all(similarity[a] >= similarity[b] for a, b in itertools.pairwise(order)):
                found.append(bool(right & set(order[:k])))
                places.append(1 + min(order.index(b) for b in right))
        recalls.append(np.mean(found))
        chances.append(np.mean(every))
        ranks.append(np.mean(places))
    return np.mean(recalls), np.mean(chances), np.median(ranks)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("block", [2, 100])
def test_recall_is_that_of_all_orders_of_ties(normalize, block):
    rng = np.random.default_rng(0)
    queries = rng.integers(-1, 2, (4, 2)) + np.array([0.0, 0.25])  # small numbers: many are as near
    keys = rng.integers(-1, 2, (6, 2)) + np.array([0.5, 0.0])
    matches = np.array([[0, 1], [0, 4], [1, 0], [1, 0], [3, 5], [3, 2], [0, 2]])  # 2 has none, one comes twice
    found = retrieval(queries, keys, matches, k=[1, 2, 3], normalize=normalize, block=block)
    if normalize:
        queries, keys = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (queries, keys))
    pairs = {tuple(pair) for pair in matches.tolist()}
    both = {"query_to_key": (queries, keys, pairs), "key_to_query": (keys, queries, {(b, a) for a, b in pairs})}
    for direction, (rows, others, right) in both.items():
        for k in (1, 2, 3):
            recall, chance, rank = slow(rows, others, right, k)
            assert found[f"{direction}_recall_{k}"] == pytest.approx(recall), (direction, k)
            assert found[f"{direction}_chance_{k}"] == pytest.approx(chance), (direction, k)
            assert found[f"{direction}_rank"] == pytest.approx(rank), direction


def test_one_vector_for_everything_finds_by_chance():
    same = np.full((50, 8), 0.3) + np.random.default_rng(0).normal(size=(50, 8)) * 1e-8  # of rounding alone
    found = retrieval(same, same, k=[1, 10, 100])
    assert [found[f"query_to_key_recall_{k}"] for k in (1, 10, 100)] == pytest.approx([0.02, 0.2, 1.0])
    assert found["query_to_key_rank"] == 25.5


def test_what_belongs_together_is_found():
    rows = np.random.default_rng(0).normal(size=(30, 8))
    found = retrieval(rows, 3 * rows)
    assert {name: value for name, value in found.items() if "chance" not in name} == {
        f"{direction}_{name}": 1.0
        for direction in ("query_to_key", "key_to_query")
        for name in ("recall_1", "recall_5", "recall_10", "rank")
    }


EYE = np.eye(3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((EYE, np.eye(4)[:, :3]), "`matches` must be given where .* Received: 3 queries, 4 keys"),
        ((EYE, np.eye(4)), "`queries` must have 4 columns"),
        ((EYE, EYE, [[0, 3]]), r"rows of 3 queries and 3 keys. Received: the pair \(0, 3\)"),
        ((EYE, EYE, [0, 1]), r"integers \[P, 2\]"),
        ((EYE * np.nan, EYE), "`queries` must be finite"),
    ],
    ids=["uneven", "width", "row", "form", "nan"],
)
def test_it_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        retrieval(*arguments)
    with pytest.raises(InputError, match="`k` must be one or more"):
        retrieval(EYE, EYE, k=[0])
