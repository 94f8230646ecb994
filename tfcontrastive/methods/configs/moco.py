"""The settings of MoCo."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, InputError, setting


@dataclasses.dataclass(frozen=True)
class MoCoConfig(BaseConfig):
    """MoCo's own settings; the defaults are v1's. v2: temperature 0.2, an mlp head, the augmentation moco_v2."""

    temperature: float = setting(0.07, "Temperature of the contrastive loss.", above=0)
    queue_size: int = setting(65_536, "Keys in the queue; a multiple of the global batch.", at_least=1)
    target_momentum: float = setting(0.999, "EMA momentum of the key encoder.", at_least=0, at_most=1)
    moco_head: str = setting("linear", "The head: linear (v1) or mlp (v2).", choices=("linear", "mlp"))
    proj_out_dim: int = setting(128, "Size of the projection.", at_least=1)
    bn_splits: int = setting(
        1, "Batch-norm groups on one device, in place of the replicas that shuffling needs.", at_least=1
    )
    jigsaw_weight: float = setting(
        0.0,
        "Weight of the tiles' loss, InfoMin's beta (there 0.5); the image has the rest; 0: no tiles.",
        at_least=0,
        at_most=1,
    )
    tile_size: int | None = setting(
        None, "Height and width of a tile in pixels; default: a quarter of the cut view's, 64 of 255.", at_least=1
    )

    def __post_init__(self):
        super().__post_init__()
        if self.tile_size is not None and not self.jigsaw_weight:
            raise InputError(
                "`tile_size` must be left out without `jigsaw_weight`, which alone has tiles. "
                f"Received: tile_size={self.tile_size}."
            )
