"""The settings of DCL."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class DCLConfig(BaseConfig):
    """Decoupled contrastive learning's own settings; the head is SimCLR's."""

    temperature: float = setting(0.1, "Temperature of the contrastive loss.", above=0)
    sigma: float | None = setting(
        None,
        "DCLW: how fast the weight of a pair falls with its similarity (the paper: 0.5); default: no weights.",
        above=0,
    )
    num_proj_layers: int = setting(2, "Layers of the projection head.", at_least=1)
    proj_out_dim: int = setting(128, "Size of the projection.", at_least=1)
