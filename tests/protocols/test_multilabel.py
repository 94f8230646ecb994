"""VOC2007's labels, its metric and what learns from them, each against something slower."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tfcontrastive import data
from tfcontrastive.protocols.multilabel import SigmoidCrossEntropy, linear_scores, map11, voc_labels


def slow_average_precision(scores, labels):
    """The highest precision at each of eleven recalls, from a loop over every threshold."""
    points = []
    for threshold in scores:
        chosen = (scores >= threshold) & (labels != -1)
        found = np.sum(labels[chosen] == 1)
        points.append((found / np.sum(labels == 1), found / max(np.sum(chosen), 1)))
    return np.mean([max([p for r, p in points if r >= level - 1e-9], default=0.0) for level in np.arange(11) / 10])


@pytest.mark.parametrize("negatives", [1, 2, 10])
def test_a_positive_below_all_negatives_has_its_own_precision_at_every_recall(negatives):
    scores = np.linspace(0.9, 0.1, negatives + 1)[:, None]
    labels = np.array([[0]] * negatives + [[1]])
    assert map11(scores, labels) == pytest.approx(1 / (negatives + 1))


@settings(deadline=None, max_examples=60)
@given(data=st.data(), count=st.integers(1, 30), classes=st.integers(1, 3))
def test_map_is_that_of_a_loop_over_thresholds(data, count, classes):
    labels = data.draw(arrays(np.int8, (count, classes), elements=st.integers(-1, 1)))
    labels[0] = 1
    scores = data.draw(arrays(np.float64, (count, classes), elements=st.integers(-5, 5)))  # with ties
    expected = np.mean([slow_average_precision(scores[:, c], labels[:, c]) for c in range(classes)])
    assert map11(scores, labels) == pytest.approx(expected)


def test_map_is_the_11_point_one_and_difficult_images_count_neither_way():
    rng = np.random.default_rng(0)
    labels = rng.choice([-1, 0, 1], size=(40, 3), p=[0.2, 0.5, 0.3])
    labels[:, 2] = 0  # a class that no image shows
    scores = rng.normal(size=(40, 3)) + labels
    expected = np.mean([slow_average_precision(scores[:, c], labels[:, c]) for c in range(2)])
    assert map11(scores, labels) == pytest.approx(expected)
    scores[labels[:, 0] == -1, 0] += 100
    assert map11(scores, labels) == pytest.approx(expected)


def test_the_loss_leaves_difficult_ones_out():
    labels = tf.constant([[1, 0, -1], [0, 0, 1]], tf.int8)
    logits = tf.constant([[2.0, -1.0, 5.0]])
    loss, _ = SigmoidCrossEntropy(labels)(None, logits, {"label": tf.constant([0])})
    np.testing.assert_allclose(loss, np.mean([np.log1p(np.exp(-2)), np.log1p(np.exp(-1))]), rtol=1e-6)


def test_the_probe_finds_what_a_feature_shows():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (200, 3))
    labels[:20] = -1
    features = labels + rng.normal(size=labels.shape) * 0.1
    scores = linear_scores(features[:150], labels[:150], features[150:], penalties=(1.0, 0.01), seed=0)
    assert map11(scores, labels[150:]) == 1.0


def test_what_is_difficult_everywhere_is_neither_shown_nor_absent():
    class Annotated:
        def annotations(self, split, *keys):
            assert (split, keys) == ("train+validation", ("labels", "labels_no_difficult"))
            return [{"labels": [0, 2], "labels_no_difficult": [2]}, {"labels": [1], "labels_no_difficult": [1]}]

    assert voc_labels(Annotated(), "train+validation", num_classes=3).tolist() == [[-1, 0, 1], [0, 1, 0]]


def test_annotations_come_in_the_order_of_the_images():
    source = data.load("embedded")
    labels = [one["label"] for one in source.annotations("test[:50]", "label")]
    np.testing.assert_array_equal(labels, source.arrays("test[:50]")[1])
