"""The settings of the protocol linear."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import InputError, setting
from tfcontrastive.config.protocols.base import BagSettings


@dataclasses.dataclass(frozen=True)
class LinearSettings(BagSettings):
    """A linear classifier of frozen features: L-BFGS, or SGD as in SimCLR or MoCo."""

    linear_optimizer: str = setting(
        "lbfgs",
        "lbfgs: to convergence, penalty swept on a part of train; simclr, moco: SGD with the published constants.",
        choices=("lbfgs", "simclr", "moco"),
    )
    linear_augmentation: bool = setting(
        True,
        "SGD: random crops and flips, the frozen encoder running at each step; false: on features taken once, quicker.",
    )
    linear_epochs: int | None = setting(None, "SGD: epochs; default: the published.", at_least=1)
    linear_batch_size: int | None = setting(None, "SGD: batch size; default: the published.", at_least=1)
    linear_learning_rate: float | None = setting(
        None, "SGD: learning rate for a batch of 256, scaled linearly; default: the published.", above=0
    )
    max_iter: int = setting(1000, "L-BFGS: iterations of the final fit at most.", at_least=1)
    validation_fraction: float = setting(0.2, "L-BFGS: part of train on which the penalty is chosen.", above=0, below=1)
    seed: int = setting(0, "Seed of the validation split; SGD: of weights, order and crops.", at_least=0)

    def __post_init__(self):
        super().__post_init__()
        if self.bag_crops > 1 and self.linear_optimizer != "lbfgs" and self.linear_augmentation:
            raise InputError(
                "`bag_crops` above 1 needs features that are taken once: --linear_optimizer=lbfgs or "
                f"--nolinear_augmentation. Received: bag_crops={self.bag_crops} with "
                f"linear_optimizer={self.linear_optimizer}."
            )
