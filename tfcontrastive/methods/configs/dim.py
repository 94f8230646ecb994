"""The settings of Deep InfoMax."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class DIMConfig(BaseConfig):
    """Deep InfoMax's own settings."""

    measure: str = setting("jsd", "Estimate of the mutual information.", choices=("jsd", "info_nce"))
    local_layers: str = setting(
        "", "Names of the encoder's layers whose maps are the local features, by commas; empty: the last map but one."
    )
    hidden_dim: int = setting(2048, "Hidden width of both heads.", at_least=1)
    proj_out_dim: int = setting(2048, "Size of the vectors that are compared.", at_least=1)
