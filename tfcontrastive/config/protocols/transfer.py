"""The settings of the protocol transfer."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from tfcontrastive.config.base import setting
from tfcontrastive.config.pretrain import OPTIMIZERS
from tfcontrastive.config.protocols.base import TuningSettings

TRANSFER_SETS = (
    "food101", "cifar10", "cifar100", "birdsnap", "sun397", "cars", "aircraft", "voc2007", "dtd", "pets", "caltech101",
    "flowers",
)  # fmt: skip
FINETUNE: dict[str, Any] = {
    "train_steps": 20_000,
    "train_batch_size": 256,
    "optimizer": "momentum",
    "learning_rates": tuple(10 ** (-4 + step / 2) for step in range(7)),  # 1e-4 to 1e-1
    "weight_decays": (0.0, *(10 ** (-6 + step / 2) for step in range(7))),  # none, 1e-6 to 1e-3, each over the rate
}
"""Source: arXiv 2002.05709, appendix B.8.2: SGD with Nesterov momentum 0.9, crop and flip; rate and decay by validation."""


@dataclasses.dataclass(frozen=True)
class TransferSettings(TuningSettings):
    """SimCLR's transfer: linear probes and fine-tuning on the data sets of its Table 8, each with its own metric."""

    datasets: str = setting("all", "Names with commas between them, of: " + ", ".join(TRANSFER_SETS) + "; or all.")
    how: str = setting("linear", "What is trained.", choices=("linear", "finetune", "both"))
    optimizer: str = setting(FINETUNE["optimizer"], "The optimizer.", choices=OPTIMIZERS)
    learning_rate_scaling: str = setting("linear", "As in train.", choices=("linear", "sqrt"))
    train_batch_size: int = setting(FINETUNE["train_batch_size"], "Batch size, at most the images.", at_least=2)
    train_steps: int = setting(FINETUNE["train_steps"], "Steps of a fine-tuning.", at_least=1)
    learning_rates: str = setting(",".join(f"{rate:g}" for rate in FINETUNE["learning_rates"]), "Rates to choose from.")
    weight_decays: str = setting(
        ",".join(f"{decay:g}" for decay in FINETUNE["weight_decays"]),
        "Decays to choose from, each divided by the rate.",
    )
    needs_dataset: ClassVar[bool] = False  # it brings its own
