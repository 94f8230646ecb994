"""The settings of EMP-SSL."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class EMPSSLConfig(BaseConfig):
    """EMP-SSL's own settings."""

    similarity_weight: float = setting(200.0, "Weight of the patches' cosine with their image's mean.", at_least=0)
    epsilon_squared: float = setting(0.2, "Distortion of the coding rate.", above=0)
    hidden_dim: int = setting(4096, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = setting(1024, "Size of the embedding.", at_least=1)
