"""The settings of VICReg."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class VICRegConfig(BaseConfig):
    """VICReg's own settings."""

    hidden_dim: int = setting(8192, "Hidden width of the expander.", at_least=1)
    proj_out_dim: int = setting(8192, "Size of the embedding.", at_least=1)
    num_proj_layers: int = setting(3, "Layers of the expander.", at_least=1)
    invariance_weight: float = setting(25.0, "Weight of the distance between views.", at_least=0)
    variance_weight: float = setting(25.0, "Weight of the features' lack of variance.", at_least=0)
    covariance_weight: float = setting(1.0, "Weight of the covariances between features.", at_least=0)
