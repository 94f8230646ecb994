"""Linear classification of frozen features by logistic regression."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.checks import checked_features, checked_labels, checked_splits
from tfcontrastive.evaluate.metrics import accuracies, top_k_accuracy

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4)
_SWEEP_ITERATIONS = 100  # accuracies of the sweep do not need the minimum itself
_PATIENCE = 3  # penalties in a row that may do no better than the best
_ROUNDING = 1e-6  # of float32, several times over
_PRECISION = 1e-3  # of the final weights: at the minimum the gradient of the data's part is penalty * W
_LARGE = 2e8  # numbers that are not held in float64 beside, 1.6 GB
_SMALL = 1e10  # examples x features x classes


class LinearClassifier:
    """A fitted logistic regression on standardised features; made by `fit_linear`.

    Attributes:
        penalty: the one that was chosen.
        num_classes: C.
    """

    def __init__(self, model, mean: np.ndarray, std: np.ndarray, penalty: float, num_classes: int):
        self.penalty, self.num_classes = penalty, num_classes
        self._model, self._mean, self._std = model, mean, std

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Logits of features `[M, F]`: float32 `[M, C]`, -inf for classes that training lacked."""
        features = checked_features("features", features, width=len(self._mean))
        return _scores(self._model, (features - self._mean) / self._std, self.num_classes)


def fit_linear(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    *,
    num_classes: int,
    penalties: Sequence[float] = PENALTIES,
    validation_fraction: float = 0.2,
    max_iter: int = 1000,
    seed: int = 0,
) -> LinearClassifier:
    """A logistic regression whose penalty is chosen on a part of the training split.

    It minimises mean_i CE(W x_i + b, y_i) + penalty / 2 |W|^2 by L-BFGS, where x are the features standardised by the
    training split's mean and standard deviation; of two classes |W| is that of the difference of their rows. The
    penalty that does best on the held-out part is taken for a fit on all of the training split; the test split has no
    say in it. The sweep goes from strong to weak, each fit starting from the last, and ends once three in a row are no
    better than the best. The final fit runs in float64, where that takes less than 1.6 GB, until
    its weights are exact to about a part in a thousand.

    Args:
        train_features: `[N, F]` float.
        train_labels: `[N]` integers in `[0, num_classes)`, at least two classes.
        num_classes: C.
        penalties: the ones to try, > 0 each; with a single one nothing is held out.
        validation_fraction: the part of each class held out for the sweep, in (0, 1).
        max_iter: L-BFGS iterations of the final fit, at least 1; a fit of the sweep takes 100 at most.
        seed: of the choice of what is held out.

    Raises:
        InputError: for bad numbers, features that are not finite, labels out of range, fewer than two classes.

    Examples:
        >>> int(fit_linear([[0.0], [0.1], [0.9], [1.0]], [0, 0, 1, 1], num_classes=2).scores([[0.2]]).argmax())
        0

    Source: the transfer protocol of SimCLR, https://arxiv.org/abs/2002.05709, appendix B.8.1, there without
    standardisation and with 45 penalties.
    """
    train_features = checked_features("train_features", train_features)
    train_labels = checked_labels("train_labels", train_labels, len(train_features), num_classes)
    _check_numbers(penalties, validation_fraction, max_iter)
    classes = np.unique(train_labels)
    if len(classes) < 2:
        raise InputError(f"`train_labels` must hold at least two classes. Received: only class {classes[0]}.")
    mean, std = mean_and_scale(train_features)
    train_features = (train_features - mean) / std

    penalty, weights = penalties[0], None
    if len(penalties) > 1:
        held_out = _held_out(train_labels, validation_fraction, seed)
        sweep_iterations = min(max_iter, _SWEEP_ITERATIONS)
        penalty, weights = _best_penalty(train_features, train_labels, held_out, penalties, sweep_iterations)
    if train_features.size < _LARGE:  # in float32 the search for the minimum ends a few percent before it
        train_features = train_features.astype(np.float64)
    model = _fit(train_features, train_labels, penalty, max_iter, weights, _PRECISION * penalty)
    if model.n_iter_[0] >= max_iter:
        logging.info("linear: L-BFGS stopped after %d iterations, before it converged.", max_iter)
    return LinearClassifier(model, mean, std, float(penalty), num_classes)


def mean_and_scale(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What standardises features `[N, F]`: their mean and standard deviation, float32 `[F]` each.

    The deviation of a feature that differs no more than float32 rounds is 1: in other images, where it is not quite the
    same, it would drown all others.
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    std = np.sqrt(np.mean(np.square(features - mean), axis=0, dtype=np.float64)).astype(np.float32)
    return mean, np.where(std > _ROUNDING * np.abs(mean), std, np.float32(1))


def linear_scores(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    *,
    num_classes: int,
    **options: Any,
) -> tuple[np.ndarray, float]:
    """The class scores of `fit_linear`'s classifier, float32 `[M, C]`, and its penalty.

    Args:
        train_features, train_labels, num_classes, **options: of `fit_linear`.
        features: `[M, F]` float.
    """
    classifier = fit_linear(train_features, train_labels, num_classes=num_classes, **options)
    return classifier.scores(features), classifier.penalty


def linear(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    penalties: Sequence[float] = PENALTIES,
    validation_fraction: float = 0.2,
    max_iter: int = 1000,
    seed: int = 0,
) -> dict[str, float]:
    """The accuracy of a logistic regression on frozen features, its penalty chosen on a part of the training split.

    Args:
        train_features: `[N, F]` float.
        train_labels: `[N]` integers in `[0, num_classes)`, at least two classes.
        features: `[M, F]` float, of the test examples.
        labels: `[M]` integers; only classes that `train_labels` holds. Not every class needs to occur.
        num_classes: C.
        penalties, validation_fraction, max_iter, seed: see `fit_linear`.

    Returns:
        `linear_top1`, `linear_top5`, `linear_mean_per_class`, `linear_top1_low`, `linear_top1_high` (see `accuracies`)
        and `linear_penalty`.

    Raises:
        InputError: for bad numbers, features that are not finite, labels out of range, classes that only the test has.

    Examples:
        >>> train = [[0.0], [0.1], [0.9], [1.0]]
        >>> linear(train, [0, 0, 1, 1], [[0.2], [0.8]], [0, 1], num_classes=2)["linear_top1"]
        1.0

    Source: https://arxiv.org/abs/2002.05709, appendix B.8.1.
    """
    train_features, train_labels, features, labels = checked_splits(
        train_features, train_labels, features, labels, num_classes
    )
    scores, penalty = linear_scores(
        train_features,
        train_labels,
        features,
        num_classes=num_classes,
        penalties=penalties,
        validation_fraction=validation_fraction,
        max_iter=max_iter,
        seed=seed,
    )
    return accuracies("linear", scores, labels) | {"linear_penalty": penalty}


def _check_numbers(penalties: Sequence[float], validation_fraction: float, max_iter: int) -> None:
    if not len(penalties) or not all(penalty > 0 for penalty in penalties):
        raise InputError(f"`penalties` must be one or more numbers > 0. Received: penalties={penalties}.")
    if not 0 < validation_fraction < 1:
        raise InputError(f"`validation_fraction` must lie in (0, 1). Received: {validation_fraction}.")
    if max_iter < 1:
        raise InputError(f"`max_iter` must be >= 1. Received: max_iter={max_iter}.")


def _held_out(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """A mask over the examples: the same fraction of every class, at least one where a class has two or more."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        mask[rows[: min(max(1, round(fraction * len(rows))), len(rows) - 1)]] = True
    if not mask.any():
        raise InputError(
            "`train_labels` must hold some class twice for a penalty to be chosen; else give a single one in "
            "`penalties`. Received: one example a class."
        )
    return mask


def _best_penalty(features, labels, held_out, penalties, max_iter):
    """The penalty with the highest held-out accuracy (of equals, the strongest), and the weights it led to."""
    best, best_accuracy, worse, model = None, -1.0, 0, None
    for penalty in sorted(penalties, reverse=True):
        start = (model.coef_, model.intercept_) if model is not None else None
        model = _fit(features[~held_out], labels[~held_out], penalty, max_iter, start)
        scores = _scores(model, features[held_out], labels.max() + 1)
        accuracy = top_k_accuracy(scores, labels[held_out])
        if accuracy > best_accuracy:
            best, best_accuracy, worse = (penalty, (model.coef_, model.intercept_)), accuracy, 0
        elif (worse := worse + 1) == _PATIENCE:
            break
    logging.info("linear: penalty %g, with accuracy %.4f on the held-out part of train.", best[0], best_accuracy)
    return best


def _fit(features, labels, penalty, max_iter, start=None, tolerance=1e-4):
    # Slow to import, and few who import this room ask for it.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # Many small steps: threads wait for each other longer than they work, many times as long on a busy machine.
    small = features.size * (labels.max() + 1) < _SMALL
    model = LogisticRegression(
        C=1 / (penalty * len(labels)), max_iter=max_iter, tol=min(tolerance, 1e-4), warm_start=True
    )
    if start is not None:
        model.coef_, model.intercept_ = (weights.copy() for weights in start)
    with warnings.catch_warnings(), threadpool_limits(1 if small else None):
        warnings.simplefilter("ignore", ConvergenceWarning)  # said once, of the last fit, in the log
        return model.fit(features, labels)


def _scores(model, features: np.ndarray, num_classes: int) -> np.ndarray:
    scores = np.full([len(features), num_classes], -np.inf, np.float32)
    decision = model.decision_function(features)
    if decision.ndim == 1:  # two classes: one column, for the second
        decision = np.stack([-decision, decision], axis=1) / 2  # whose softmax is the sigmoid of the column
    scores[:, model.classes_] = decision
    return scores
