"""The settings of AMDIM."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class AMDIMConfig(BaseConfig):
    """AMDIM's own settings; the defaults are those of its largest model."""

    clip: float = setting(20.0, "Bound c of the soft clip c tanh(s / c) of scores.", above=0)
    score_penalty: float = setting(0.05, "Weight of the mean square of scores, before the clip.", at_least=0)
    local_layers: str = setting(
        "", "Names of two layers of the encoder, the larger map first, by a comma; empty: its last two sizes of maps."
    )
    hidden_dim: int = setting(2560, "Hidden width of the heads.", at_least=1)
    proj_out_dim: int = setting(2560, "Size of the vectors that are compared.", at_least=1)
