"""The settings of instance discrimination."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class InstDiscConfig(BaseConfig):
    """Instance discrimination's own settings."""

    bank_size: int = setting(1_281_167, "Images in the memory bank: the size of the training set.", at_least=2)
    temperature: float = setting(0.07, "Temperature of the softmax over instances.", above=0)
    num_negatives: int = setting(4096, "Noise samples of the NCE; 0: the full softmax over the bank.", at_least=0)
    bank_momentum: float = setting(0.5, "Share of an entry that an update keeps.", at_least=0, below=1)
    proj_out_dim: int = setting(128, "Size of the embedding.", at_least=1)
