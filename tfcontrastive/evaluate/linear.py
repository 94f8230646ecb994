"""The `linear` protocol."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config.protocols.linear import LinearSettings
from tfcontrastive.data.bag import Bag
from tfcontrastive.evaluate.bags import bag_named, bag_of, bag_settings
from tfcontrastive.evaluate.checks import checked_splits
from tfcontrastive.evaluate.evaluator import FeatureEvaluator
from tfcontrastive.evaluate.features import taken_by
from tfcontrastive.evaluate.labelled_features import LabelledFeatures
from tfcontrastive.evaluate.linear_lbfgs import linear_scores
from tfcontrastive.evaluate.linear_sgd import RECIPES, SGDRecipe, linear_sgd, linear_sgd_on_images
from tfcontrastive.evaluate.metrics import accuracies
from tfcontrastive.evaluate.predictions import Predictions


@dataclasses.dataclass(frozen=True)
class Linear(LinearSettings, FeatureEvaluator):
    """A linear classifier of frozen features: L-BFGS, or SGD as in SimCLR or MoCo.

    Examples:
        >>> Linear().run(encoder, tfcontrastive.data.load("embedded"))
        {'linear_top1': ..., 'linear_penalty': ...}
    """

    @property
    def needs_features_only(self) -> bool:
        return self.linear_optimizer == "lbfgs" or not self.linear_augmentation

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]:
        if self.needs_features_only:
            return super().run(encoder, source)
        return linear_sgd_on_images(
            encoder,
            taken_by(encoder, source),
            recipe=self.recipe,
            train_split=self.train_split,
            eval_split=self.eval_split,
            eval_batch_size=self.eval_batch_size,
            image_size=self.image_size,
            seed=self.seed,
        )

    def measure(self, features: LabelledFeatures) -> dict[str, float]:
        return self.measured(features)[0]

    def measured(self, features: LabelledFeatures) -> tuple[dict[str, float], Predictions | None]:
        if self.linear_optimizer != "lbfgs":
            count = features.num_classes
            found = linear_sgd(*features.arrays(), num_classes=count, recipe=self.recipe, seed=self.seed)
            return bag_named("linear", found, self.bag), None
        train_features, train_labels, tested, labels = checked_splits(*features.arrays(), features.num_classes)
        logits, penalty = linear_scores(
            train_features,
            train_labels,
            tested,
            num_classes=features.num_classes,
            validation_fraction=self.validation_fraction,
            max_iter=self.max_iter,
            seed=self.seed,
        )
        values = accuracies("linear", logits, labels) | {"linear_penalty": penalty}
        return bag_named("linear", values, self.bag), Predictions.of_logits(labels, logits)

    @property
    def bag(self) -> Bag | None:
        return bag_of(self)

    @property
    def settings(self) -> dict[str, Any]:
        """What the values depend on: the published constants too, and not the other optimizer's."""
        shared = {name: getattr(self, name) for name in ("train_split", "eval_split", "image_size", "linear_optimizer")}
        if self.linear_optimizer == "lbfgs":
            own = {name: getattr(self, name) for name in ("max_iter", "validation_fraction")}
        else:
            own = {"linear_augmentation": self.linear_augmentation, **dataclasses.asdict(self.recipe)}
        return {**shared, **own, **bag_settings(self), "seed": self.seed}

    @property
    def recipe(self) -> SGDRecipe:
        """The published constants, with what was asked for in their place."""
        asked: dict[str, Any] = {
            "epochs": self.linear_epochs,
            "batch_size": self.linear_batch_size,
            "learning_rate": self.linear_learning_rate,
        }
        changes = {name: value for name, value in asked.items() if value is not None}
        return dataclasses.replace(RECIPES[self.linear_optimizer], **changes)
