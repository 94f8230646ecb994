"""The settings of the protocol curve."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import setting
from tfcontrastive.config.pretrain import OPTIMIZERS
from tfcontrastive.config.protocols.base import TuningSettings


@dataclasses.dataclass(frozen=True)
class CurveSettings(TuningSettings):
    """Accuracy against the part of the labels: the encoder fine-tuned, and the same network trained from scratch."""

    fractions: str = setting("0.01,0.02,0.05,0.1,0.2,0.5,1", "Parts of the labels, with commas between them.")
    train_epochs: int | None = setting(
        None, "Epochs of fine-tuning; default: 60 for up to 1% of the labels, else 30.", at_least=1
    )
    supervised_epochs: int = setting(90, "Epochs of training from scratch.", at_least=1)
    supervised_optimizer: str = setting("momentum", "Optimizer from scratch.", choices=OPTIMIZERS)
    supervised_learning_rate: float = setting(0.1, "Learning rate from scratch, times batch / 256.", above=0)
    supervised_weight_decay: float = setting(5e-4, "Weight decay from scratch.", at_least=0)
