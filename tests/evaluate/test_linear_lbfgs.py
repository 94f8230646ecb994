import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import linear, linear_scores
from tfcontrastive.evaluate.linear_lbfgs import PENALTIES, _held_out


def clusters(count, seed, noise=0.1, classes=3):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % classes
    return 5 * np.eye(classes)[labels] + noise * rng.normal(size=(count, classes)) + 100, labels


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_separable_classes_are_separated(classes):
    train, train_labels = clusters(70, 0, classes=classes)
    features, labels = clusters(30, 1, classes=classes)
    result = linear(train, train_labels, features, labels, num_classes=classes)
    assert result["linear_top1"] == result["linear_top5"] == result["linear_mean_per_class"] == 1


def test_the_result_is_the_same_each_time():
    train, test = clusters(60, 0, noise=3), clusters(30, 1, noise=3)
    assert linear(*train, *test, num_classes=3) == linear(*train, *test, num_classes=3)


def test_noise_features_ask_for_a_stronger_penalty():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    clean = labels[:, None] + rng.normal(size=(200, 1))
    noisy = np.concatenate([clean, rng.normal(size=(200, 150))], axis=1)
    _, penalty = linear_scores(noisy, labels, noisy, num_classes=2)
    assert penalty >= 0.03


def test_the_fit_is_the_minimum_of_the_documented_objective():
    train, labels = clusters(60, 0, noise=3)
    penalty = 0.1
    scores, chosen = linear_scores(train, labels, train, num_classes=3, penalties=[penalty], max_iter=1000)
    assert chosen == penalty
    x = (train - train.mean(0)) / train.std(0)
    weights, *_ = np.linalg.lstsq(np.c_[x, np.ones(60)], scores, rcond=None)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    gradient = x.T @ (p - np.eye(3)[labels]) / 60 + penalty * weights[:3]
    np.testing.assert_allclose(gradient, 0, atol=1e-3)


@pytest.mark.parametrize("penalty", [PENALTIES[0], 1e-2, PENALTIES[-1], 1e-5])
def test_the_logits_are_those_of_newtons_method(penalty):
    """On features that overlap, as those of encoders do: L-BFGS takes many steps there."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % 5
    mix = rng.normal(size=(20, 20)) * np.geomspace(1, 0.01, 20)[:, None]
    train, features = ((np.eye(20)[labels[:n]] + 0.5 * rng.normal(size=(n, 20))) @ mix for n in (400, 50))
    scores, _ = linear_scores(train, labels, features, num_classes=5, penalties=[penalty], max_iter=5000)
    mean, std = train.mean(0), train.std(0)
    exact = LogisticRegression(C=1 / (penalty * 400), solver="newton-cholesky", tol=1e-10, max_iter=500)
    expected = exact.fit((train - mean) / std, labels).decision_function((features - mean) / std)
    scores, expected = (logits - logits.mean(1, keepdims=True) for logits in (scores, expected))
    np.testing.assert_allclose(scores, expected, atol=1e-3 * np.abs(expected).max())


def test_two_classes_have_logits_as_more_have():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    train = labels[:, None] + rng.normal(size=(200, 2))
    scores, _ = linear_scores(train, labels, train, num_classes=2, penalties=[0.1], max_iter=1000)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    x = (train - train.mean(0)) / train.std(0)
    weights, *_ = np.linalg.lstsq(np.c_[x, np.ones(200)], scores[:, 1] - scores[:, 0], rcond=None)
    np.testing.assert_allclose(x.T @ (p[:, 1] - labels) / 200 + 0.1 * weights[:2], 0, atol=1e-3)


def test_a_constant_feature_does_no_harm():
    train, labels = clusters(30, 0)
    train[:, 0] = 7
    assert linear(train, labels, train, labels, num_classes=3)["linear_top1"] == 1


def test_a_feature_that_is_constant_but_for_rounding_does_no_harm_in_other_images():
    train = np.random.default_rng(0).normal(size=(1000, 4))
    labels, constant = (train[:, 0] > 0.7).astype(int), np.full([1000, 1], 0.1)
    scores, _ = linear_scores(np.c_[train, constant], labels, np.c_[train, constant + 0.01], num_classes=2)
    assert np.mean(scores.argmax(1) == labels) > 0.95


def test_a_class_absent_from_the_test_split_is_fine():
    train, labels = clusters(30, 0)
    assert linear(train, labels, train[:1], labels[:1], num_classes=3)["linear_top1"] == 1


def test_a_class_that_no_example_has_is_never_predicted():
    train, labels = clusters(30, 0)
    scores, _ = linear_scores(train, labels * 2, train, num_classes=6)
    assert np.isneginf(scores[:, [1, 3, 5]]).all()
    assert np.isfinite(scores[:, [0, 2, 4]]).all()


def test_the_held_out_part_is_balanced_and_leaves_some_of_every_class():
    labels = np.repeat([0, 1, 2], [100, 2, 1])
    mask = _held_out(labels, 0.2, seed=0)
    assert [int(mask[labels == label].sum()) for label in range(3)] == [20, 1, 0]
    assert (mask != _held_out(labels, 0.2, seed=1)).any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"penalties": []}, "one or more numbers > 0"),
        ({"penalties": [0.0]}, "one or more numbers > 0"),
        ({"validation_fraction": 1.0}, r"must lie in \(0, 1\)"),
        ({"max_iter": 0}, "`max_iter` must be >= 1"),
        ({"train_labels": np.ones(30, int), "labels": [1] * 30}, "at least two classes. Received: only class 1."),
        ({"labels": np.full(30, 9), "num_classes": 10}, "must hold classes of `train_labels` only"),
        ({"features": np.full([30, 3], np.nan)}, "NaN or infinity in row 0"),
    ],
)
def test_bad_input_is_one_clear_line(changes, message):
    train, labels = clusters(30, 0)
    given = {"train_features": train, "train_labels": labels, "features": train, "labels": labels, "num_classes": 3}
    with pytest.raises(InputError, match=message):
        linear(**given | changes)


def test_one_example_a_class_leaves_nothing_to_choose_a_penalty_by():
    with pytest.raises(InputError, match="some class twice"):
        linear(np.eye(3), [0, 1, 2], np.eye(3), [0, 1, 2], num_classes=3)
    assert linear(np.eye(3), [0, 1, 2], np.eye(3), [0, 1, 2], num_classes=3, penalties=[0.01])["linear_top1"] == 1
