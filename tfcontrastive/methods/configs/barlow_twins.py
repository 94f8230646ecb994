"""The settings of Barlow Twins."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class BarlowTwinsConfig(BaseConfig):
    """Barlow Twins' own settings."""

    hidden_dim: int = setting(8192, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = setting(8192, "Size of the projection.", at_least=1)
    num_proj_layers: int = setting(3, "Layers of the projector.", at_least=1)
    off_diagonal_weight: float = setting(0.0051, "Weight of the redundancy term (the paper's lambda).", at_least=0)
    loss_scale: float = setting(
        0.024,
        "Multiplies the loss, as the authors' code did: with LARS the rate of biases and batch norm; kernels see it only "
        "against their weight decay.",
        above=0,
    )
