"""The settings of the protocol robustness."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import setting
from tfcontrastive.config.protocols.base import CLASSIFIERS, FeatureSettings


@dataclasses.dataclass(frozen=True)
class RobustnessSettings(FeatureSettings):
    """Error on ImageNet-C's 15 corruptions x 5 severities, and mCE against a baseline."""

    classifier: str = setting("linear", "What is tested: a probe, or the encoder's own head.", choices=CLASSIFIERS)
    corrupted_dataset: str | None = setting(
        None, "Corrupted images ready-made: cifar10_corrupted, imagenet2012_corrupted; default: corrupted on the fly."
    )
    baseline: str | None = setting(
        None, "What mCE compares with: alexnet (ImageNet's default), or the metrics.json of another encoder."
    )
    eval_images: int | None = setting(None, "Test on the first so many images; default: on all.", at_least=1)
    corruption_workers: int = setting(1, "Processes that corrupt images.", at_least=1, may_change=True)
    seed: int = setting(0, "Seed of the corruptions' noise and the probe's validation split.", at_least=0)
