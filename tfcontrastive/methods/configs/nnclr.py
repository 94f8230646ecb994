"""The settings of NNCLR."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class NNCLRConfig(BaseConfig):
    """NNCLR's own settings."""

    temperature: float = setting(0.1, "Temperature of the contrastive loss.", above=0)
    queue_size: int = setting(98_304, "Embeddings to find neighbours in; a multiple of the global batch.", at_least=1)
    hidden_dim: int = setting(2048, "Hidden width of the projector.", at_least=1)
    predictor_hidden_dim: int = setting(4096, "Hidden width of the predictor.", at_least=1)
    proj_out_dim: int = setting(256, "Size of the projection.", at_least=1)
