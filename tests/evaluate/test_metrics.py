import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import balanced_accuracy_score

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import accuracies, mean_per_class_accuracy, top_k_accuracy, top_k_hits


@st.composite
def scored(draw):
    count, classes = draw(st.integers(1, 12)), draw(st.integers(1, 6))
    # Few distinct values, so that ties are common.
    scores = draw(arrays(np.float32, (count, classes), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0])))
    return scores, draw(arrays(np.int64, count, elements=st.integers(0, classes - 1)))


@given(scored(), st.integers(1, 8))
def test_top_k_is_that_of_a_stable_sort(example, k):
    scores, labels = example
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(top_k_hits(scores, labels, k), (order == labels[:, None]).any(1))


@given(scored())
def test_top_k_grows_with_k_up_to_one(example):
    scores, labels = example
    values = [top_k_accuracy(scores, labels, k) for k in range(1, scores.shape[1] + 1)]
    assert values == sorted(values)
    assert values[-1] == 1


@given(scored())
def test_top_1_is_the_first_highest_score(example):
    scores, labels = example
    assert top_k_accuracy(scores, labels) == np.mean(scores.argmax(1) == labels)


@given(scored())
def test_mean_per_class_is_scikit_learns_balanced_accuracy(example):
    scores, labels = example
    predictions = scores.argmax(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of predicted classes that no example has
        expected = balanced_accuracy_score(labels, predictions)
    assert mean_per_class_accuracy(predictions, labels) == pytest.approx(expected)


def test_minus_infinity_is_never_a_hit():
    assert not top_k_hits(np.array([[0.0, -np.inf]]), np.array([1]), 2)[0]


def test_accuracies_by_hand():
    scores = np.array([[3.0, 2, 1], [3, 2, 1], [3, 2, 1], [1, 2, 3]])
    result = accuracies("x", scores, np.array([0, 0, 1, 2]))
    assert result["x_top1"] == 0.75
    assert result["x_top5"] == 1
    assert result["x_mean_per_class"] == pytest.approx(2 / 3)
    assert result["x_top1_low"] <= 0.75 <= result["x_top1_high"]


def test_an_accuracy_of_one_is_as_sure_as_there_are_images():
    result = accuracies("x", np.eye(10), np.arange(10))
    assert result["x_top1"] == result["x_top1_high"] == 1
    assert result["x_top1_low"] == pytest.approx(0.692, abs=0.001)


def test_a_row_without_a_prediction_is_wrong_for_every_class():
    result = accuracies("x", np.full([4, 2], -np.inf), np.array([0, 0, 1, 1]))
    assert result["x_top1"] == result["x_mean_per_class"] == 0


def test_bad_numbers():
    with pytest.raises(InputError, match="`k` must be >= 1"):
        top_k_accuracy(np.zeros([1, 2]), np.array([0]), 0)
