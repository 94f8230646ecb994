"""The settings of SimCLR."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, InputError, setting


@dataclasses.dataclass(frozen=True)
class SimCLRConfig(BaseConfig):
    """SimCLR's own settings. The defaults are those of google-research/simclr's flags; v1's head has two layers."""

    temperature: float = setting(0.1, "Temperature of the contrastive loss.", above=0)
    decoupled: bool = setting(False, "DCL: leave the positive out of the denominator, see --method=dcl.")
    decoupled_sigma: float | None = setting(
        None, "DCLW, with decoupled: how fast a pair's weight falls with its similarity; default: no weights.", above=0
    )
    hidden_norm: bool = setting(True, "Compare directions: L2-normalise the projections.")
    proj_head_mode: str = setting(
        "nonlinear", "The projection head: none, linear, or a multi-layer one.", choices=("none", "linear", "nonlinear")
    )
    num_proj_layers: int = setting(3, "Layers of the nonlinear projection head (v1: 2, v2: 3).", at_least=1)
    proj_hidden_dim: int | None = setting(
        None, "Width of the projection head's hidden layers; default: that of the features.", at_least=1
    )
    proj_out_dim: int = setting(128, "Size of the projection.", at_least=1)
    ft_proj_selector: int = setting(
        0, "Layer of the projection head that fine-tuning starts from; 0: before the head, -1: its end.", at_least=-1
    )
    memory_size: int = setting(
        0, "SimCLRv2's memory: past projections as further negatives, a multiple of two batches; 0: none.", at_least=0
    )
    target_momentum: float = setting(0.999, "EMA momentum of the network that fills the memory.", at_least=0, at_most=1)

    def __post_init__(self):
        super().__post_init__()
        if self.decoupled_sigma is not None and not self.decoupled:
            raise InputError(
                "`decoupled_sigma` must be left out without `decoupled`, which alone has weights. "
                f"Received: decoupled_sigma={self.decoupled_sigma}."
            )
