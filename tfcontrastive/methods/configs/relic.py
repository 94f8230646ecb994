"""The settings of ReLIC."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class ReLICConfig(BaseConfig):
    """ReLIC's own settings. Temperature and alpha are not published: the defaults are this project's."""

    temperature: float = setting(0.2, "Temperature of the contrastive loss.", above=0)
    alpha: float = setting(1.0, "Weight of the invariance penalty.", at_least=0)
    use_target: bool = setting(False, "ReLIC_T: compare with a momentum network, with BYOL's heads.")
    critic_hidden_dim: int = setting(
        4096,
        "Width of the critic's first layer, halved from layer to layer; of both heads with use_target.",
        at_least=8,
    )
    proj_out_dim: int = setting(128, "Size of the critic's output (the paper with use_target: 256).", at_least=1)
    target_momentum: float = setting(0.996, "EMA momentum of the target at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = setting(True, "Raise the target's momentum to 1 along a cosine.")
