"""The settings of BYOL."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class BYOLConfig(BaseConfig):
    """BYOL's own settings; the defaults are the paper's for 1,000 epochs."""

    hidden_dim: int = setting(4096, "Hidden width of projector and predictor.", at_least=1)
    proj_out_dim: int = setting(256, "Size of the projection.", at_least=1)
    target_momentum: float = setting(0.996, "EMA momentum of the target at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = setting(True, "Raise the target's momentum to 1 along a cosine.")
