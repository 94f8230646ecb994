"""The `robustness` protocol: accuracy on corrupted images."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.config.protocols.robustness import RobustnessSettings
from tfcontrastive.evaluate.checks import checked_labels
from tfcontrastive.evaluate.classifiers import classifier_of
from tfcontrastive.evaluate.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from tfcontrastive.evaluate.evaluator import FeatureEvaluator, default_image_size, held_out_split
from tfcontrastive.evaluate.features import FeatureExtractor, taken_by
from tfcontrastive.evaluate.metrics import top_k_accuracy

# AlexNet's errors on ImageNet-C, mean over the five severities, and on clean ImageNet: github.com/hendrycks/robustness.
ALEXNET = {
    "gaussian_noise": 0.886428,
    "shot_noise": 0.894468,
    "impulse_noise": 0.922640,
    "defocus_blur": 0.819880,
    "glass_blur": 0.826268,
    "motion_blur": 0.785948,
    "zoom_blur": 0.798360,
    "snow": 0.866816,
    "frost": 0.826572,
    "fog": 0.819324,
    "brightness": 0.564592,
    "contrast": 0.853204,
    "elastic_transform": 0.646056,
    "pixelate": 0.717840,
    "jpeg_compression": 0.606500,
}
ALEXNET_CLEAN = 0.4348

# Configurations of tensorflow-datasets' cifar10_corrupted that go by other names.
_TFDS_NAMES = {"glass_blur": "frosted_glass_blur", "elastic_transform": "elastic"}
_PARALLEL_PIECE = 32  # images


@dataclasses.dataclass(frozen=True)
class Robustness(RobustnessSettings, FeatureEvaluator):
    """Error on ImageNet-C's 15 corruptions x 5 severities, and mCE against a baseline.

    A classifier on clean training images is tested on corrupted test images. With E[c, s] its error under corruption c
    at severity s, CE[c] = sum_s E[c, s] / sum_s E_baseline[c, s], and mCE is the mean of CE over the corruptions. The
    relative mCE takes E[c, s] - E[clean] on both sides.

    Examples:
        >>> Robustness(eval_images=1000).run(encoder, tfcontrastive.data.load("embedded"))
        {'robustness_mean_error': ..., ...}

    Source: Hendrycks and Dietterich, https://arxiv.org/abs/1903.12261, section 4.
    """

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]:
        source = taken_by(encoder, source)
        baseline = self._baseline(source)  # before hours of work
        eval_split = self.eval_split or held_out_split(source)
        size = self.image_size or default_image_size(encoder, source, eval_split)
        rule = data.Preprocessing.of(encoder)
        batch: dict[str, Any] = {"batch_size": self.eval_batch_size, "image_size": size, "preprocessing": rule}
        extract = FeatureExtractor(encoder)
        clean, labels = extract(data.eval_batches(source, eval_split, limit=self.eval_images, **batch))
        labels = checked_labels("labels", labels, len(clean), source.num_classes or 0)
        scores = classifier_of(self.classifier, encoder, source, train_split=self.train_split, seed=self.seed, **batch)

        def error(features, labels):
            return 1 - top_k_accuracy(scores(features), labels)

        errors = {}
        for name in CORRUPTIONS:
            for severity in SEVERITIES:
                images = self._corrupted(source, eval_split, name, severity, batch)
                errors[name, severity] = error(*extract(images))
        return corruption_metrics(errors, error(clean, labels), baseline)

    def _corrupted(self, source, split, name, severity, batch):
        if self.corrupted_dataset is None:
            return self._on_the_fly(data.eval_batches(source, split, limit=self.eval_images, **batch), name, severity)
        other = load_corrupted(self.corrupted_dataset, name, severity, self.data_dir)
        if other.num_classes != source.num_classes:
            raise InputError(
                f"`corrupted_dataset` must have the classes of {source.name}. Received: {other.num_classes} classes, "
                f"not {source.num_classes}."
            )
        return data.eval_batches(other, held_out_split(other), limit=self.eval_images, **batch)

    def _on_the_fly(self, batches, name: str, severity: int) -> Iterator[dict[str, np.ndarray]]:
        from joblib import Parallel, delayed

        first = 0
        with Parallel(n_jobs=self.corruption_workers) as parallel:
            for batch in batches:
                images = np.round(batch["image"].numpy() * 255).astype(np.uint8)
                pieces = range(0, len(images), _PARALLEL_PIECE)
                done = parallel(
                    delayed(corrupt)(
                        images[at : at + _PARALLEL_PIECE], name, severity, seed=self.seed, first=first + at
                    )
                    for at in pieces
                )
                first += len(images)
                yield {"image": np.concatenate(done).astype(np.float32) / 255, "label": batch["label"].numpy()}

    def _baseline(self, source: data.Source) -> tuple[dict[str, float], float] | None:
        asked = self.baseline
        if asked is None:
            asked = "alexnet" if source.name.startswith("imagenet2012") else None
        if asked is None:
            return None
        return (ALEXNET, ALEXNET_CLEAN) if asked == "alexnet" else read_baseline(asked)


def corruption_metrics(
    errors: Mapping[tuple[str, int], float], clean: float, baseline: tuple[Mapping[str, float], float] | None
) -> dict[str, float]:
    """The protocol's values from the errors.

    Args:
        errors: by corruption and severity.
        clean: the error on clean images.
        baseline: another classifier's errors by corruption, mean over the severities, and its clean error; None: no
            mCE.

    Returns:
        `robustness_mean_error`, `robustness_clean_error`, with a baseline `robustness_mce`, `robustness_relative_mce`
        (where each corruption costs the baseline something) and `robustness_ce/<corruption>`, and
        `robustness_error/<corruption>/<severity>`.
    """
    names = list(dict.fromkeys(name for name, _ in errors))
    means = {name: float(np.mean([errors[name, severity] for severity in SEVERITIES])) for name in names}
    values = {"robustness_mean_error": float(np.mean(list(means.values()))), "robustness_clean_error": clean}
    if baseline is not None:
        others, other_clean = baseline
        if min(others[name] for name in names) <= 0:
            raise InputError("`baseline` must make errors under every corruption, to divide by. Received: one without.")
        ce = {name: means[name] / others[name] for name in names}
        values["robustness_mce"] = float(np.mean(list(ce.values())))
        if all(others[name] > other_clean for name in names):  # else the ratio says nothing
            relative = [(means[name] - clean) / (others[name] - other_clean) for name in names]
            values["robustness_relative_mce"] = float(np.mean(relative))
        values |= {f"robustness_ce/{name}": value for name, value in ce.items()}
    return values | {f"robustness_error/{name}/{severity}": value for (name, severity), value in errors.items()}


def read_baseline(path: str) -> tuple[dict[str, float], float]:
    """Another encoder's errors by corruption, and its clean error, from its metrics.json.

    Raises:
        InputError: no such file, or it holds no `robustness` result.
    """
    try:
        with open(os.path.join(path, "metrics.json") if os.path.isdir(path) else path, encoding="utf-8") as file:
            results = json.load(file)["results"]
        metrics = [one["metrics"] for one in results if one["protocol"] == "robustness"][-1]
        means = {
            name: float(np.mean([metrics[f"robustness_error/{name}/{severity}"] for severity in SEVERITIES]))
            for name in CORRUPTIONS
        }
        return means, metrics["robustness_clean_error"]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise InputError(
            "`baseline` must be alexnet, or a metrics.json with a result of --protocol=robustness. "
            f"Received: {path!r} ({type(error).__name__}: {error})."
        ) from error


def load_corrupted(name: str, corruption: str, severity: int, data_dir: str | None) -> data.Source:
    """One corruption's images at one severity, from tensorflow-datasets."""
    config = _TFDS_NAMES.get(corruption, corruption) if name.startswith("cifar10_corrupted") else corruption
    return data.load(f"{name}/{config}_{severity}", data_dir=data_dir)
