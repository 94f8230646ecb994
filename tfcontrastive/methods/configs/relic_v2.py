"""The settings of ReLIC v2."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class ReLICV2Config(BaseConfig):
    """ReLIC v2's own settings. Temperature, alpha and how often views are masked are this project's choice."""

    use_target = True  # no setting: what ReLIC reads

    temperature: float = setting(0.2, "Temperature of the contrastive loss.", above=0)
    alpha: float = setting(1.0, "Weight of the invariance penalty.", at_least=0)
    mask_probability: float = setting(
        0.1, "Probability that a large view shows its image's masked part alone, where data bring masks.",
        at_least=0, at_most=1,
    )  # fmt: skip
    critic_hidden_dim: int = setting(4096, "Hidden width of both heads.", at_least=1)
    proj_out_dim: int = setting(256, "Size of the critic's output.", at_least=1)
    target_momentum: float = setting(0.996, "EMA momentum of the target at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = setting(True, "Raise the target's momentum to 1 along a cosine.")
