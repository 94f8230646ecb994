"""The settings of the protocol geometry."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import setting
from tfcontrastive.config.pretrain import POLICY_NAMES
from tfcontrastive.config.protocols.base import FeatureSettings


@dataclasses.dataclass(frozen=True)
class FeatureGeometrySettings(FeatureSettings):
    """How features and projections lie on the sphere: alignment, uniformity, rank, InfoNCE bound, class separation."""

    eval_batch_size: int = setting(
        256, "Images that the encoder takes at a time, and B of the InfoNCE bound.", at_least=1
    )
    augmentation: str = setting("simclr", "Policy that the two views are made by.", choices=POLICY_NAMES)
    temperature: float = setting(0.1, "Temperature of the loss in the InfoNCE bound.", above=0)
    seed: int = setting(0, "Seed of the views.", at_least=0)
