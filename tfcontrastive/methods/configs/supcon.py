"""The settings of SupCon."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class SupConConfig(BaseConfig):
    """SupCon's own settings."""

    temperature: float = setting(0.1, "Temperature of the contrastive loss.", above=0)
    hidden_dim: int = setting(2048, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = setting(128, "Size of the projection.", at_least=1)
