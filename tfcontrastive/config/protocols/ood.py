"""The settings of the protocol ood."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import setting
from tfcontrastive.config.protocols.base import CLASSIFIERS, FeatureSettings


@dataclasses.dataclass(frozen=True)
class OutOfDistributionSettings(FeatureSettings):
    """Accuracy on another domain of the same classes, such as ImageNet-R, beside that at home."""

    ood_dataset: str | None = setting(None, "Images of the other domain, as --dataset takes them.")
    ood_split: str | None = setting(None, "Their split; default: test, else validation, else the only one.")
    class_map: str | None = setting(
        None, "JSON or CSV file: their class -> the data's class, by name or number; default: those of the same name."
    )
    classifier: str = setting("linear", "What is tested: a probe, or the encoder's own head.", choices=CLASSIFIERS)
    seed: int = setting(0, "Seed of the probe's validation split.", at_least=0)
