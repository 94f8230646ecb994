"""Rank correlation against scipy's, ties included."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies
from scipy import stats

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import graded_pairs, spearman

few = strategies.integers(-3, 3)  # so that many are equal


@hypothesis.given(strategies.lists(strategies.tuples(few, few), min_size=2, max_size=30))
def test_spearman_is_scipys(rows):
    x, y = np.array(rows).T
    constant = len(set(x)) == 1 or len(set(y)) == 1
    np.testing.assert_allclose(spearman(x, y), np.nan if constant else stats.spearmanr(x, y).statistic, atol=1e-12)


def test_graded_pairs_compare_directions():
    rng = np.random.default_rng(0)
    queries, keys, grades = rng.normal(size=(40, 5)), rng.normal(size=(40, 5)), rng.integers(0, 6, 40)
    cosines = [q @ k / np.linalg.norm(q) / np.linalg.norm(k) for q, k in zip(queries, keys, strict=True)]
    found = graded_pairs(7 * queries, keys, grades)
    assert found["spearman"] == pytest.approx(stats.spearmanr(cosines, grades).statistic, abs=1e-9)
    assert found["pearson"] == pytest.approx(stats.pearsonr(cosines, grades).statistic, abs=1e-6)


def test_what_cannot_be_ranked_is_refused():
    with pytest.raises(InputError, match=r"`y` must be two numbers or more.*shape \(3,\)"):
        spearman([1, 2], [1, 2, 3])
    with pytest.raises(InputError, match="`y` must be finite"):
        spearman([1, 2], [1, np.nan])
    with pytest.raises(InputError, match="`keys` must have as many rows"):
        graded_pairs(np.eye(3), np.eye(3)[:2], [1, 2, 3])
