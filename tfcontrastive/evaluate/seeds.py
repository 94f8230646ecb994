"""The same measurement with several seeds: how much of a number is chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.evaluate.evaluator import Evaluator, FeatureEvaluator
from tfcontrastive.evaluate.predictions import Predictions


def evaluate_seeds(
    evaluator: Evaluator, encoder: Callable[..., tf.Tensor], source: data.Source | None, seeds: Sequence[int]
) -> dict[int, dict[str, float]]:
    """Runs an evaluator once with each seed.

    Args:
        evaluator: one with a field `seed`.
        encoder, source: as in `Evaluator.run`.
        seeds: different integers >= 0.

    Returns:
        The values by seed.

    Raises:
        InputError: an evaluator in which nothing is random, or a seed that is given twice.

    Examples:
        >>> from tfcontrastive.evaluate import Linear
        >>> runs = evaluate_seeds(Linear(), encoder, tfcontrastive.data.load("embedded"), seeds=(0, 1, 2))
        >>> mean, deviation = mean_and_deviation(runs)
    """
    seeded = with_seeds(evaluator, seeds)
    if isinstance(evaluator, FeatureEvaluator) and evaluator.needs_features_only:
        features = evaluator.features(encoder, source)
        return {seed: one.measure(features) for seed, one in seeded.items()}
    return {seed: one.run(encoder, source) for seed, one in seeded.items()}


def with_seeds(evaluator: Evaluator, seeds: Sequence[int]) -> dict[int, Any]:
    """The evaluator with each seed; arguments and errors are those of `evaluate_seeds`."""
    config: Any = evaluator  # which a frozen dataclass is, though a protocol cannot say so
    if "seed" not in config.__dataclass_fields__:
        raise InputError(f"`seeds` is for protocols with chance in them. Received: {type(evaluator).__name__}.")
    if len(set(seeds)) != len(seeds) or not seeds:
        raise InputError(f"`seeds` must be different numbers. Received: seeds={list(seeds)}.")
    return {seed: dataclasses.replace(config, seed=seed) for seed in seeds}


def by_class(runs: Sequence[Predictions], class_names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """Recall and precision of each class that occurs, over several runs on the same images.

    Args:
        runs: what was said of each test image, by each run.
        class_names: names of the classes; the numbers when not given.

    Returns:
        of each class `{"class": name, "test": images, "recall": mean, "precision": mean}`, and of two runs or more
        `recall_deviation` and `precision_deviation`, over the runs (n - 1). Precision is of the runs that named it at all;
        None where none did.

    Examples:
        >>> one = Predictions(np.array([0, 0, 1]), np.array([0, 1, 1]), np.ones(3))
        >>> [(row["class"], row["recall"], row["precision"]) for row in by_class([one])]
        [('0', 0.5, 1.0), ('1', 1.0, 0.5)]
    """
    rows = []
    for label in np.unique(np.concatenate([run.labels[run.labels >= 0] for run in runs])):
        own = runs[0].labels == label
        right = [int(np.sum(run.classes[own] == label)) for run in runs]
        named = [int(np.sum(run.classes[run.labels >= 0] == label)) for run in runs]
        row: dict[str, Any] = {"class": str(label) if class_names is None else class_names[label]}
        row["test"] = int(own.sum())
        values = {
            "recall": [count / row["test"] for count in right],
            "precision": [count / all_named for count, all_named in zip(right, named, strict=True) if all_named],
        }
        for name, many in values.items():
            row[name] = float(np.mean(many)) if many else None
            if len(many) > 1:
                row[f"{name}_deviation"] = float(np.std(many, ddof=1))
        rows.append(row)
    return rows


def mean_and_deviation(runs: Mapping[int, Mapping[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
    """The mean of each value over the runs, and its sample standard deviation (n - 1; of two runs or more, else {}).

    Examples:
        >>> mean_and_deviation({0: {"top1": 0.5}, 1: {"top1": 0.7}})[0]
        {'top1': 0.6}
    """
    values = {name: [run[name] for run in runs.values()] for name in next(iter(runs.values()))}
    mean = {name: float(np.mean(many)) for name, many in values.items()}
    return mean, {name: float(np.std(many, ddof=1)) for name, many in values.items() if len(many) > 1}
