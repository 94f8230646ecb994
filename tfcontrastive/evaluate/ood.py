"""The `ood` protocol: accuracy on another domain of the same classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.config.protocols.ood import OutOfDistributionSettings
from tfcontrastive.evaluate.class_map import mapped_classes, read_class_map
from tfcontrastive.evaluate.classifiers import classifier_of
from tfcontrastive.evaluate.evaluator import FeatureEvaluator, default_image_size, held_out_split
from tfcontrastive.evaluate.features import FeatureExtractor, taken_by
from tfcontrastive.evaluate.metrics import accuracies, top_k_accuracy


@dataclasses.dataclass(frozen=True)
class OutOfDistribution(OutOfDistributionSettings, FeatureEvaluator):
    """Accuracy on another domain of the same classes, such as ImageNet-R, beside that at home.

    A classifier of all of the data's classes is tested on images of `ood_dataset`. Its choice is among the classes that
    occur there (the 200 of ImageNet-R), in both domains; `ood_gap` is what the other domain costs.

    Examples:
        >>> encoder = tfcontrastive.ResNet(18, width_multiplier=0.25, input_shape=(32, 32, 3))
        >>> OutOfDistribution(ood_dataset="folder:sketches").run(encoder, tfcontrastive.data.load("folder:photos"))
        {'ood_...': ..., ...}

    Source: Hendrycks et al., "The Many Faces of Robustness", https://arxiv.org/abs/2006.16241.
    """

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]:
        if self.ood_dataset is None:
            raise InputError(
                "`ood_dataset` must be given: --ood_dataset=folder:sketches, or imagenet_r. Received: None."
            )
        other = taken_by(encoder, data.load(self.ood_dataset, data_dir=self.data_dir))
        source = taken_by(encoder, source)
        classes = mapped_classes(other, source, read_class_map(self.class_map) if self.class_map else None)
        eval_split = self.eval_split or held_out_split(source)
        size = self.image_size or default_image_size(encoder, source, eval_split)
        rule = data.Preprocessing.of(encoder)
        batch: dict[str, Any] = {"batch_size": self.eval_batch_size, "image_size": size, "preprocessing": rule}
        extract = FeatureExtractor(encoder)
        features, labels = extract(data.eval_batches(other, self._ood_split(other), **batch))
        known = classes[labels] >= 0
        known &= labels >= 0
        if not known.any():
            raise InputError(f"`class_map` must cover classes that occur in {other.name}. Received: none of them.")
        if not known.all():
            logging.info("ood: %d of %d images are of classes that the map leaves out.", np.sum(~known), len(known))
        features, labels = features[known], classes[labels[known]]
        home, home_labels = extract(data.eval_batches(source, eval_split, **batch))
        scores = classifier_of(self.classifier, encoder, source, train_split=self.train_split, seed=self.seed, **batch)
        among = np.isin(np.arange(source.num_classes), labels)

        def choice(features):
            return np.where(among, scores(features), -np.inf)

        values = accuracies("ood", choice(features), labels)
        at_home = np.isin(home_labels, np.flatnonzero(among))
        if not at_home.any():
            raise InputError(f"`eval_split` must hold some of the classes of {other.name}. Received: {eval_split!r}.")
        top1 = top_k_accuracy(choice(home[at_home]), home_labels[at_home])
        return values | {
            "ood_error": 1 - values["ood_top1"],
            "ood_in_domain_top1": top1,
            "ood_gap_top1": top1 - values["ood_top1"],
            "ood_classes": float(among.sum()),
            "ood_images": float(len(labels)),
        }

    def _ood_split(self, other: data.Source) -> str:
        if self.ood_split is not None:
            return self.ood_split
        return other.splits[0] if len(other.splits) == 1 else held_out_split(other)
