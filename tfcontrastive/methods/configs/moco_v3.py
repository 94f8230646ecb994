"""The settings of MoCo v3."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class MoCoV3Config(BaseConfig):
    """MoCo v3's own settings; the defaults are those of ResNet-50."""

    temperature: float = setting(1.0, "Temperature of the contrastive loss (ViT: 0.2).", above=0)
    hidden_dim: int = setting(4096, "Hidden width of projector and predictor.", at_least=1)
    proj_out_dim: int = setting(256, "Size of the projection.", at_least=1)
    num_proj_layers: int = setting(2, "Layers of the projector (ResNet: 2, ViT: 3).", at_least=1)
    predictor_last_norm: bool = setting(False, "Batch norm after the predictor (ResNet: no, ViT: yes).")
    target_momentum: float = setting(0.99, "EMA momentum of the key encoder at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = setting(True, "Raise the momentum to 1 along a cosine.")
