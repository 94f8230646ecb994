"""The settings of PIRL."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting
from tfcontrastive.methods.configs.bank_objective import OBJECTIVES, check_objective


@dataclasses.dataclass(frozen=True)
class PIRLConfig(BaseConfig):
    """PIRL's own settings."""

    bank_size: int = setting(1_281_167, "Images in the memory bank: the size of the training set.", at_least=2)
    temperature: float = setting(0.07, "Temperature of the contrastive loss.", above=0)
    objective: str = setting(
        "nce",
        "nce: logistic, as in the paper; info_nce: softmax, as in later runs of its authors.",
        choices=OBJECTIVES,
    )
    num_negatives: int = setting(
        32_000, "Entries of the bank that an image is compared with; 0, of info_nce: all.", at_least=0
    )
    bank_momentum: float = setting(0.5, "Share of an entry that an update keeps.", at_least=0, below=1)
    tiles_weight: float = setting(
        0.5, "Weight of the tiles' loss, lambda; the image has the rest.", at_least=0, at_most=1
    )
    tile_size: int | None = setting(
        None, "Height and width of a tile in pixels; default: a quarter of the cut view's, 64 of 255.", at_least=1
    )
    pirl_head: str = setting("linear", "The heads: linear, or mlp, with a hidden layer.", choices=("linear", "mlp"))
    proj_out_dim: int = setting(128, "Size of the embedding, and of a tile's vector.", at_least=1)

    def __post_init__(self):
        super().__post_init__()
        check_objective(self.objective, self.num_negatives)
