"""The `transfer` protocol: what the encoder is worth on twelve other data sets."""

from __future__ import annotations

import dataclasses
import itertools
import os
from typing import cast

import numpy as np
from absl import logging

from tfcontrastive import data, evaluate
from tfcontrastive.config import InputError, unknown
from tfcontrastive.config.protocols.transfer import TransferSettings
from tfcontrastive.evaluate.evaluator import default_image_size
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.protocols import multilabel
from tfcontrastive.protocols.tasks import TASKS, Task
from tfcontrastive.protocols.tuning_evaluator import TuningEvaluator, numbers


@dataclasses.dataclass(frozen=True)
class Transfer(TransferSettings, TuningEvaluator):
    """SimCLR's transfer: linear probes and fine-tuning on the data sets of its Table 8, each with its own metric.

    Those that are not prepared are named and left out. The probe's penalty, and the rate and decay of fine-tuning where
    several are given, are chosen on a fifth of the training images; batch norm keeps the decay of pre-training.

    Examples:
        >>> trained = tfcontrastive.load_trained(checkpoint="runs/a")
        >>> values = Transfer(datasets="cifar10,pets", data_dir="tfds").run(trained, None)

    Source: arXiv 2002.05709, appendix B.8.
    """

    def run(self, encoder: Trained, source: data.Source | None = None) -> dict[str, float]:
        values: dict[str, float] = {}
        missing = []
        for name in self.chosen():
            task = TASKS[name]
            where = self.prepared(task)
            if where is None:
                missing.append(name)
                continue
            images = evaluate.taken_by(encoder, data.load(where, data_dir=self.data_dir))
            if self.how != "finetune":
                values |= self.linear(encoder, images, name, task)
            if self.how != "linear":
                values |= self.tuned(encoder, images, name, task)
        if missing:
            what = ", ".join(f"{name} ({TASKS[name].dataset})" for name in missing)
            logging.warning(
                "transfer: not prepared in %s, hence left out: %s.", self.data_dir or "the default place", what
            )
        if not values:
            raise InputError(
                f"`datasets` must name one that is prepared. Received: {', '.join(missing)}, which are not."
            )
        return values

    def chosen(self) -> list[str]:
        """The names asked for."""
        if self.datasets == "all":
            return list(TASKS)
        names = self.datasets.split(",")
        for name in names:
            if name not in TASKS:
                raise InputError(f"`datasets` {unknown(name, TASKS)}")
        return names

    def prepared(self, task: Task) -> str | None:
        """What `data.load` takes, where the data is there; nothing is downloaded."""
        kind, _, folder = task.dataset.partition(":")
        if kind == "folder":
            path = os.path.join(self.data_dir or ".", folder)
            return f"folder:{path}" if os.path.isdir(path) else None
        import tensorflow_datasets as tfds  # slow to import

        return task.dataset if tfds.builder(task.dataset, data_dir=self.data_dir).is_prepared() else None

    def linear(self, encoder: Trained, source: data.Source, name: str, task: Task) -> dict[str, float]:
        """Logistic regression on the frozen features."""
        size = self.image_size or default_image_size(encoder, source, task.test)
        extract = evaluate.FeatureExtractor(encoder)
        parts: list[np.ndarray] = []
        for split in (task.train, task.test):
            parts += extract(
                data.eval_batches(
                    source,
                    split,
                    batch_size=self.eval_batch_size,
                    image_size=size,
                    preprocessing=data.Preprocessing.of(encoder),
                )
            )
        train, train_labels, features, labels = parts
        prefix = f"{name}_linear"
        if task.metric == "map":
            train_labels, labels = (_voc_labels(source, split) for split in (task.train, task.test))
            scores = multilabel.linear_scores(
                train, train_labels, features, penalties=evaluate.PENALTIES, seed=self.seed
            )
            return interval(prefix, "map", scores, labels)
        scores, _ = evaluate.linear_scores(
            train, train_labels, features, num_classes=source.num_classes, seed=self.seed
        )
        return interval(prefix, task.metric, scores, labels)

    def tuned(self, encoder: Trained, source: data.Source, name: str, task: Task) -> dict[str, float]:
        """Fine-tuning with the rate and decay that do best on a fifth of the training images."""
        rates, decays = (numbers(name, getattr(self, name)) for name in ("learning_rates", "weight_decays"))
        pairs = list(itertools.product(rates, decays))
        best = pairs[0]
        if len(pairs) > 1:
            held, kept = self.held_out(source, task)
            parts = {"kept": (task.train, kept), "held_out": (task.train, held)}
            part = data.Subset(source, parts)

            def held_out_value(pair):
                run = f"{name}_rate{pair[0]:g}_decay{pair[1]:g}"
                return self.one(encoder, part, run, "kept", "held_out", task, pair, parts)

            best = max(pairs, key=held_out_value)
            logging.info("transfer: %s with learning rate %g, weight decay %g / rate.", name, *best)
        value = self.one(encoder, source, f"{name}_finetuned", task.train, task.test, task, best, {})
        return {f"{name}_finetuned_{task.metric}": value}

    def one(self, encoder, source, run, train, test, task, pair, parts) -> float:
        """The task's metric after one fine-tuning, with a (rate, decay) pair."""
        rate, decay = pair
        changes = {"train_split": train, "train_steps": self.train_steps}
        changes |= {"learning_rate": rate, "weight_decay": decay / rate}
        evaluator = dataclasses.replace(self, eval_split=test)
        if task.metric != "map":
            return evaluator.accuracies(encoder, source, run, **changes)[f"{run}_{task.metric}"]
        labels = {}
        for split in (train, test):
            whole, rows = parts.get(split, (split, slice(None)))
            labels[split] = _voc_labels(data.load(task.dataset, data_dir=self.data_dir), whole)[rows]
        config = evaluator.config(encoder, source, run, **changes)
        run = multilabel.multilabel_run(config, source=source, labels=labels, start=encoder)
        return run.train().metrics["eval_map"]

    def held_out(self, source: data.Source, task: Task) -> tuple[np.ndarray, np.ndarray]:
        """Positions of a fifth of the training images, and of the others."""
        count = source.num_examples(task.train)
        order = np.random.default_rng(self.seed).permutation(count)
        return np.sort(order[: count // 5]), np.sort(order[count // 5 :])


def _voc_labels(source: data.Source, split: str) -> np.ndarray:
    """`multilabel.voc_labels` of a task whose metric is mAP: those are data sets of tensorflow-datasets."""
    return multilabel.voc_labels(cast(data.TfdsSource, source), split)


def interval(prefix: str, metric: str, scores: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """A metric with its 95% interval: exact where it is a share of the images, else by resampling them."""
    key = f"{prefix}_{metric}"
    if metric == "top1":
        hits = evaluate.top_k_hits(scores, labels, 1)
        value, ends = float(np.mean(hits)), evaluate.share_interval(int(hits.sum()), len(hits))
    elif metric == "map":
        value = multilabel.map11(scores, labels)
        ends = evaluate.bootstrap_interval(multilabel.map11, scores, labels, resamples=200)
    else:
        predictions = np.argmax(scores, axis=1)
        value = evaluate.mean_per_class_accuracy(predictions, labels)
        ends = evaluate.bootstrap_interval(evaluate.mean_per_class_accuracy, predictions, labels)
    return {key: value, f"{key}_low": ends[0], f"{key}_high": ends[1]}
