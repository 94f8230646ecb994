"""Several labels an image: VOC2007's annotations, its metric, a linear probe and a fine-tuning for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfcontrastive import data, distribute
from tfcontrastive.data.encoded import forget_global_seed
from tfcontrastive.downstream.finetune import PreparedClassifier, Tuning
from tfcontrastive.evaluate.linear_lbfgs import mean_and_scale
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.loop import Run, Site

DIFFICULT = -1
"""Of a class that an image shows only where it is hard to see: it counts neither way, as in VOC's own evaluation."""


def voc_labels(source: data.TfdsSource, split: str, num_classes: int = 20) -> np.ndarray:
    """int8 `[N, C]`: 1 where the image shows the class, 0 where not, -1 where only objects marked as difficult are of it."""
    annotations = source.annotations(split, "labels", "labels_no_difficult")
    labels = np.zeros([len(annotations), num_classes], np.int8)
    for row, one in zip(labels, annotations, strict=True):
        row[one["labels"]] = DIFFICULT
        row[one["labels_no_difficult"]] = 1
    return labels


def map11(scores: np.ndarray, labels: np.ndarray) -> float:
    """The mean over the classes of the 11-point average precision of PASCAL VOC 2007.

    For each class, the mean over the recalls 0, 0.1, ..., 1 of the highest precision at that recall or a higher one, of
    those that the scores reach: there is no precision of 1 before the first example. Equal scores count together.

    Args:
        scores: `[N, C]`, higher is likelier.
        labels: `[N, C]`, 1, 0 or -1, see `voc_labels`. Classes that no image shows do not count.

    Examples:
        >>> float(map11(np.array([[0.9], [0.8], [0.1]]), np.array([[1], [0], [1]])).__round__(4))
        0.8485

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge", IJCV 2010, section 4.2.
    """
    from sklearn.metrics import precision_recall_curve  # slow to import

    precisions = []
    for score, label in zip(np.transpose(scores), np.transpose(labels), strict=True):
        counted = label != DIFFICULT
        if not (label == 1).any():
            continue
        precision, recall, _ = precision_recall_curve(label[counted] == 1, score[counted])
        precision, recall = precision[:-1], recall[:-1]  # the last pair, 1 at recall 0, is of no threshold
        levels = np.linspace(0, 1, 11)
        precisions.append(np.mean([precision[recall >= level - 1e-9].max() for level in levels]))
    return float(np.mean(precisions))


def linear_scores(
    train: np.ndarray, train_labels: np.ndarray, features: np.ndarray, *, penalties: Sequence[float], seed: int
) -> np.ndarray:
    """A logistic regression for each class, of one penalty for all, chosen by mAP on a fifth of the training images.

    Args:
        train: `[N, F]`.
        train_labels: `[N, C]`, see `voc_labels`.
        features: `[M, F]`.
        penalties: the ones to try.
        seed: of the choice of the fifth.

    Returns:
        scores `[M, C]`.
    """
    mean, std = mean_and_scale(train)
    train, features = (train - mean) / std, (features - mean) / std
    held = np.random.default_rng(seed).permutation(len(train)) < len(train) // 5

    def held_out_map(penalty):
        return map11(_fit(train[~held], train_labels[~held], train[held], penalty), train_labels[held])

    best = max(penalties, key=held_out_map) if len(penalties) > 1 else penalties[0]
    return _fit(train.astype(np.float64), train_labels, features, best, max_iter=1000, tolerance=1e-3 * best)


def _fit(
    train: np.ndarray,
    labels: np.ndarray,
    features: np.ndarray,
    penalty: float,
    *,
    max_iter: int = 200,
    tolerance: float = 1e-4,
) -> np.ndarray:
    from sklearn.linear_model import LogisticRegression

    scores = np.full([len(features), labels.shape[1]], -np.inf, np.float32)
    for number, label in enumerate(labels.T):
        counted = label != DIFFICULT
        if len(np.unique(label[counted])) == 2:
            model = LogisticRegression(C=1 / (penalty * counted.sum()), max_iter=max_iter, tol=min(tolerance, 1e-4))
            scores[:, number] = model.fit(train[counted], label[counted]).decision_function(features)
    return np.where(np.isfinite(scores), scores, np.float32(-1e9))


class Numbered(data.Source):
    """A source whose label is the position of the image in its split."""

    def __init__(self, source: data.Source):
        self._source = source
        self.name, self.splits, self.channels = source.name, source.splits, source.channels

    def num_examples(self, split: str) -> int:
        return self._source.num_examples(split)

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        held = self._source.arrays(split)
        return None if held is None else (held[0], np.arange(len(held[0]), dtype=np.int32))

    @tf.autograph.experimental.do_not_convert
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        """As `EncodedSource.references`."""
        if seeds is None:
            numbered = self._source.references(split).enumerate()
            return numbered.map(lambda row, example: (example[0], tf.cast(row, tf.int32)))
        whole = self.references(split)
        forget_global_seed()
        return whole.shuffle(self.num_examples(split), seed=seeds[1], reshuffle_each_iteration=False)

    def read(self, reference: tf.Tensor) -> tf.Tensor:
        """As `EncodedSource.read`."""
        return self._source.read(reference)


@dataclasses.dataclass(frozen=True)
class SigmoidCrossEntropy:
    """The mean over images and classes of the cross entropy of each class, shown or not; difficult ones do not count.

    Args:
        labels: of all training images, `[N, C]`; the batch's label is the position there.
    """

    labels: tf.Tensor
    names: ClassVar[tuple[str, ...]] = ("accuracy",)

    def __call__(
        self, images: tf.Tensor, logits: tf.Tensor, batch: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        labels = tf.gather(self.labels, batch["label"])
        shown = tf.cast(labels == 1, tf.float32)
        weight = distribute.row_weights(labels != DIFFICULT)
        entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=shown, logits=logits)
        right = tf.cast((logits > 0) == (labels == 1), tf.float32)
        return tf.reduce_sum(weight * entropy), {"accuracy": tf.reduce_sum(weight * right)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedMultiLabel(PreparedClassifier):
    """A fine-tuning on several labels an image, prepared; `labels` are those of the splits, `[N, C]` each."""

    labels: dict[str, np.ndarray]

    def measure(self) -> dict[str, float]:
        scores, rows = self.scores(self.split)
        return {"eval_map": map11(scores, self.labels[self.split][rows])}


@dataclasses.dataclass(frozen=True)
class MultiLabelTuning(Tuning):
    """A `Tuning` on several labels an image, of a source that is `Numbered`.

    Args:
        labels: of the splits that the config names, `[N, C]` each.
    """

    labels: dict[str, np.ndarray] = dataclasses.field(kw_only=True)

    def prepared(self, **parts: Any) -> PreparedMultiLabel:
        return PreparedMultiLabel(labels=self.labels, **parts)

    def objective(
        self, site: Site, config: Any, source: data.Source, rows: np.ndarray | None, preprocessing: data.Preprocessing
    ) -> SigmoidCrossEntropy:
        return SigmoidCrossEntropy(tf.constant(self.labels[config.data.train_split]))


def multilabel_run(
    config: Any, *, source: data.Source, labels: dict[str, np.ndarray], start: Trained, weights: bool = True
) -> Run:
    """The run of a fine-tuning on several labels an image.

    Args:
        config: a `FinetuneConfig`.
        source: the images.
        labels: of the splits that the config names, `[N, C]` each.
        start, weights: as in `finetune`.
    """
    classes = labels[config.data.train_split].shape[1]
    how = {"weights": weights, "needs_labels": False, "num_classes": classes, "labels": labels}
    return Run(config, MultiLabelTuning(config, start, **how), source=Numbered(source))
