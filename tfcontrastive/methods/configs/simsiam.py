"""The settings of SimSiam."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class SimSiamConfig(BaseConfig):
    """SimSiam's own settings; the defaults are those of ResNet-50."""

    hidden_dim: int = setting(2048, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = setting(2048, "Size of the projection.", at_least=1)
    num_proj_layers: int = setting(3, "Layers of the projector (CIFAR-10: 2).", at_least=1)
    predictor_hidden_dim: int = setting(512, "Hidden width of the predictor, a bottleneck.", at_least=1)
