"""The settings of the protocol semi."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import setting
from tfcontrastive.config.protocols.base import TuningSettings


@dataclasses.dataclass(frozen=True)
class SemiSettings(TuningSettings):
    """Accuracy after fine-tuning on a part of the labels, 1% and 10% by default."""

    fractions: str = setting("0.01,0.1", "Parts of the labels, with commas between them.")
    train_epochs: int | None = setting(
        None, "Epochs of each; default: 60 for up to 1% of the labels, else 30.", at_least=1
    )
