import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import bootstrap_interval, share_interval


@pytest.mark.parametrize(("right", "low", "high"), [(10, 0.6915, 1), (0, 0, 0.3085)])
def test_ten_examples_of_one_kind_prove_little(right, low, high):
    assert share_interval(right, 10) == pytest.approx((low, high), abs=1e-4)


@given(st.integers(0, 60), st.integers(0, 60), st.sampled_from([0.5, 0.9, 0.95, 0.99]))
def test_the_interval_of_a_share_is_scipys_exact_one(right, wrong, confidence):
    count = right + wrong + 1
    expected = binomtest(right, count).proportion_ci(confidence, "exact")
    low, high = share_interval(right, count, confidence)
    assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)
    assert 0 <= low <= right / count <= high <= 1


@settings(max_examples=20)
@given(st.integers(1, 60), st.integers(0, 60))
def test_the_interval_holds_the_mean(right, wrong):
    low, high = bootstrap_interval(np.mean, np.repeat([1.0, 0.0], [right, wrong]), resamples=200)
    assert 0 <= low <= right / (right + wrong) <= high <= 1


def test_the_interval_is_that_of_the_binomial():
    low, high = bootstrap_interval(np.mean, np.repeat([1.0, 0.0], [800, 200]), resamples=4000)
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (low, high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.003)


def test_the_interval_resamples_arrays_together():
    values = np.arange(50)
    assert bootstrap_interval(lambda a, b: float(np.mean(a == b)), values, values, resamples=20) == (1, 1)


def test_bad_numbers():
    for confidence in (0.0, 1.0):
        with pytest.raises(InputError, match="`confidence`"):
            bootstrap_interval(np.mean, np.zeros(3), confidence=confidence)
        with pytest.raises(InputError, match="`confidence`"):
            share_interval(1, 3, confidence)
    for right, count in ((4, 3), (-1, 3), (0, 0)):
        with pytest.raises(InputError, match="`right` must be among"):
            share_interval(right, count)
