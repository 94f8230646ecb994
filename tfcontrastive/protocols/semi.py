"""The `semi` protocol: fine-tuning on a few labels."""

from __future__ import annotations

import dataclasses

from absl import logging

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.config.protocols.semi import SemiSettings
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.protocols.tuning_evaluator import TuningEvaluator, fractions_of, percent

EPOCHS_OF_FEW, EPOCHS = 60, 30
"""SimCLR's and SimCLRv2's: 60 epochs with 1% of the labels, 30 with more."""

PUBLISHED = {0.01: "imagenet2012_subset/1pct", 0.1: "imagenet2012_subset/10pct"}
"""The labels of ImageNet that papers share, as tensorflow-datasets has them."""


@dataclasses.dataclass(frozen=True)
class Semi(SemiSettings, TuningEvaluator):
    """Accuracy after fine-tuning on a part of the labels, 1% and 10% by default.

    Of ImageNet these are the published parts where they are prepared; else equally many of each class, chosen by the seed
    and told in the run's label_subset.json.

    Examples:
        >>> trained = tfcontrastive.load_trained(checkpoint="runs/a")
        >>> Semi(fractions="0.01,0.1").run(trained, tfcontrastive.data.load("embedded"))
        {'semi_1pct_top1': ..., ...}

    Source: arXiv 2002.05709, section 4; arXiv 2006.10029, section 4.1.
    """

    def run(self, encoder: Trained, source: data.Source) -> dict[str, float]:
        values: dict[str, float] = {}
        for fraction in fractions_of(self.fractions):
            few = self.published(source, fraction)
            values |= self.accuracies(
                encoder,
                few or source,
                f"semi_{percent(fraction)}",
                fraction=None if few or fraction == 1 else fraction,
                train_epochs=self.train_epochs or (EPOCHS_OF_FEW if fraction <= 0.01 else EPOCHS),
            )
        return values

    def published(self, source: data.Source, fraction: float) -> data.Source | None:
        """The part of ImageNet that papers use, where it is prepared."""
        if source.name.split(":")[0] != "imagenet2012" or fraction not in PUBLISHED:
            return None
        try:
            return data.load(PUBLISHED[fraction], data_dir=self.data_dir)
        except InputError as error:
            logging.warning("Labels chosen by seed, not the published ones: %s", error)
            return None
