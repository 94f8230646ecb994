"""One measurement of an encoder, with what it is to be compared with and what was said of each image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import data
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.evaluate import (
    KNN,
    FeatureEvaluator,
    LabelledFeatures,
    Predictions,
    RawPixels,
    evaluate_seeds,
    images_of,
    mean_and_deviation,
    settle_statistics,
    settle_whitening,
)
from tfcontrastive.evaluate.evaluator import default_image_size, held_out_split
from tfcontrastive.evaluate.seeds import by_class, with_seeds
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.report import Details, surest_mistakes

_PIXELS_AT_MOST = 2e8  # numbers of all training images, 0.8 GB, up to which `auto` measures them
_BATCHES_SEEN = 20


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What an evaluator found.

    Attributes:
        metrics: the values by name.
        baselines: the same values of `raw pixels` and of the `untrained network`.
        images: how many there are: see `Result.images`; {} of an evaluator that does not look at features alone.
        details: the predictions, of an evaluator that makes some.
        deviations, runs, by_class: of several seeds, see `Result`; {} and [] of one.
    """

    metrics: dict[str, float]
    baselines: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    images: dict[str, float] = dataclasses.field(default_factory=dict)
    details: Details | None = None
    deviations: dict[str, float] = dataclasses.field(default_factory=dict)
    runs: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    by_class: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def measure_seeds(evaluator: Any, trained: Trained, source: data.Source | None, seeds: Sequence[int]) -> Measurement:
    """Runs an evaluator once with each seed: the means, how far they vary, and by class where it names classes.

    Args:
        evaluator, trained, source: as of `measure`.
        seeds: different integers >= 0.

    Raises:
        InputError: as `evaluate_seeds`.
    """
    images: dict[str, float] = {}
    classes: list[dict[str, Any]] = []
    if not isinstance(evaluator, FeatureEvaluator) or not evaluator.needs_features_only:
        values = evaluate_seeds(evaluator, trained, source, seeds)
    else:
        seeded = with_seeds(evaluator, seeds)
        features = evaluator.features(trained, source)
        measured = {seed: evaluator.measured(features) for seed, evaluator in seeded.items()}
        values = {seed: metrics for seed, (metrics, _) in measured.items()}
        said = [predictions for _, predictions in measured.values() if predictions is not None]
        images = _images(features)
        if said:
            classes = by_class(said, None if source is None else source.class_names)
    metrics, deviations = mean_and_deviation(values)
    runs = {str(seed): own for seed, own in values.items()}
    return Measurement(metrics, images=images, deviations=deviations, runs=runs, by_class=classes)


def measure(evaluator: Any, trained: Trained, source: data.Source | None, *, baselines: str = "auto") -> Measurement:
    """Runs an evaluator, and where it looks at features alone also on what the encoder has to beat.

    Args:
        evaluator: of `tfcontrastive.protocols`.
        trained: the encoder.
        source: the images; None where the evaluator brings its own.
        baselines: "auto" measures raw pixels by kNN, where they are not too many; "all" raw pixels and the same network
            with first weights of its own; "none" neither.
    """
    if not isinstance(evaluator, FeatureEvaluator) or not evaluator.needs_features_only:
        return Measurement(evaluator.run(trained, source))
    features = evaluator.features(trained, source)
    metrics, predictions = evaluator.measured(features)
    if predictions is None:
        return Measurement(metrics, images=_images(features))
    split = evaluator.eval_split or held_out_split(source)
    size = evaluator.image_size or default_image_size(trained, source, split)
    return Measurement(
        metrics,
        _baselines(evaluator, trained, source, size, baselines),
        _images(features),
        _details(predictions, features, trained, source, split),
    )


def _images(features: LabelledFeatures) -> dict[str, float]:
    largest = np.bincount(features.labels).max() / len(features.labels)
    train, test = len(features.train_labels), len(features.labels)
    return {"train": train, "test": test, "classes": features.num_classes, "largest_class": float(largest)}


def _details(
    predictions: Predictions, features: LabelledFeatures, trained: Trained, source: data.Source, split: str
) -> Details:
    rows = surest_mistakes(predictions.labels, predictions.classes, predictions.confidences)
    rule = data.Preprocessing.of(trained)
    return Details(
        predictions.labels,
        predictions.classes,
        predictions.confidences,
        class_names=source.class_names,
        train_counts=np.bincount(features.train_labels, minlength=features.num_classes),
        rows=rows if len(rows) else None,
        pictures=images_of(source, split, rows, preprocessing=rule) if len(rows) else None,
    )


def _baselines(
    evaluator: FeatureEvaluator, trained: Trained, source: data.Source, size: int, which: str
) -> dict[str, dict[str, float]]:
    sized = dataclasses.replace(evaluator, image_size=size)
    numbers = source.num_examples(evaluator.train_split) * min(size, 32) ** 2 * source.channels
    found = {}
    if which == "all" or (which == "auto" and isinstance(evaluator, KNN) and numbers <= _PIXELS_AT_MOST):
        found["raw pixels"] = sized.measure(sized.features(RawPixels(trained.preprocessing), source))
    if which == "all":
        untrained = _untrained(trained, source, evaluator, size)
        if untrained is not None:
            found["untrained network"] = sized.measure(sized.features(untrained, source))
    return found


def _untrained(trained: Trained, source: data.Source, evaluator: FeatureEvaluator, size: int) -> Trained | None:
    """The same architecture with first weights, and the batch-norm statistics of the data; None where it is not known."""
    alone = tf.distribute.get_strategy().num_replicas_in_sync == 1
    if not alone or not isinstance(trained.encoder, keras.Model):
        reason = "its architecture is not known" if alone else "it needs one device"
        logging.info("The untrained network is not measured: %s.", reason)
        return None
    keras.utils.set_random_seed(0)
    encoder = rebuild(trained.encoder, image_size=size, weights=False)
    batches = data.eval_batches(
        source,
        evaluator.train_split,
        batch_size=evaluator.eval_batch_size,
        image_size=size,
        preprocessing=trained.preprocessing,
        limit=_BATCHES_SEEN * evaluator.eval_batch_size,
    )
    settle_statistics(encoder, (batch["image"] for batch in batches))
    settle_whitening(encoder, batches)
    return dataclasses.replace(trained, encoder=encoder, name="untrained network")
