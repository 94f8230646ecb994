"""A classifier on the features of a frozen encoder, for the protocols that test one on other images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.data.untuned import untuned
from tfcontrastive.evaluate.features import extract_features
from tfcontrastive.evaluate.knn import fair_k, knn_scores
from tfcontrastive.evaluate.linear_lbfgs import fit_linear


def classifier_of(
    kind: str,
    encoder: Callable[..., tf.Tensor],
    source: data.Source,
    *,
    train_split: str,
    batch_size: int,
    image_size: int,
    preprocessing: data.Preprocessing | None = None,
    seed: int,
) -> Callable[[np.ndarray], np.ndarray]:
    """The function from features `[M, F]` to class scores `[M, C]`.

    Args:
        kind: "linear": logistic regression on the features of `train_split` (see `fit_linear`); "knn": their weighted
            neighbours, k=200 (at most the smallest class), T=0.1; "head": the classifier that the encoder came with, as
            `supervised_head`.
        encoder: `[B, H, W, C]` -> `[B, F]`.
        source: labelled images.
        train_split, batch_size, image_size, preprocessing: of the images that the first two learn from.
        seed: of the linear classifier's validation split.

    Raises:
        InputError: "head" where the encoder has none, or one of other classes.
    """
    if source.num_classes is None:
        raise InputError(f"`dataset` must be labelled to be evaluated on. Received: {source.name} without labels.")
    if kind == "head":
        return _head_scores(getattr(encoder, "supervised_head", None), source.num_classes)
    batches = data.eval_batches(
        source, train_split, batch_size=batch_size, image_size=image_size, preprocessing=preprocessing
    )
    features, labels = extract_features(encoder, batches)
    if kind == "knn":
        k = fair_k(200, labels)
        return lambda queries: knn_scores(features, labels, queries, num_classes=source.num_classes, k=k)
    return fit_linear(features, labels, num_classes=source.num_classes, seed=seed).scores


def _head_scores(head, num_classes: int) -> Callable[[np.ndarray], np.ndarray]:
    if head is None:
        raise InputError("`classifier` head needs an encoder that came with a classifier. Received: one without.")

    def scores(features):
        rows = untuned(tf.data.Dataset.from_tensor_slices(features).batch(4096))
        logits = np.concatenate([np.asarray(tf.cast(head(some), tf.float32)) for some in rows])
        if logits.shape[1] != num_classes:
            raise InputError(
                f"`classifier` head must have the data's {num_classes} classes. Received: {logits.shape[1]} classes."
            )
        return logits

    return scores
