"""The `curve` protocol: how many labels pre-training saves."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcontrastive import data
from tfcontrastive.config.protocols.curve import CurveSettings
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.protocols.semi import EPOCHS, EPOCHS_OF_FEW
from tfcontrastive.protocols.tuning_evaluator import TuningEvaluator, fractions_of, percent


@dataclasses.dataclass(frozen=True)
class Curve(CurveSettings, TuningEvaluator):
    """Accuracy against the part of the labels: the encoder fine-tuned, and the same network trained from scratch.

    Both see the same labels. The network from scratch has an optimizer of its own and as many epochs as are given.

    Examples:
        >>> trained = tfcontrastive.load_trained(checkpoint="runs/a")
        >>> Curve(fractions="0.01,0.1,1").run(trained, tfcontrastive.data.load("embedded"))
        {'fine_tuned_1pct_top1': ..., 'supervised_1pct_top1': ..., ...}
    """

    def run(self, encoder: Trained, source: data.Source) -> dict[str, float]:
        values: dict[str, float] = {}
        for fraction in sorted(fractions_of(self.fractions)):
            labels: dict[str, Any] = {"fraction": None if fraction == 1 else fraction}
            epochs = self.train_epochs or (EPOCHS_OF_FEW if fraction <= 0.01 else EPOCHS)
            values |= self.accuracies(encoder, source, f"fine_tuned_{percent(fraction)}", **labels, train_epochs=epochs)
            values |= self.accuracies(
                encoder,
                source,
                f"supervised_{percent(fraction)}",
                **labels,
                weights=False,
                train_epochs=self.supervised_epochs,
                optimizer=self.supervised_optimizer,
                learning_rate=self.supervised_learning_rate,
                learning_rate_scaling="linear",
                weight_decay=self.supervised_weight_decay,
            )
        return values
