"""The settings of contrastive predictive coding."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class CPCConfig(BaseConfig):
    """Contrastive predictive coding's own settings, those of CPC v2."""

    patch_side: int = setting(
        0, "Height and width of a patch in pixels; 0: 80 for views of 260 pixels, in proportion.", at_least=0
    )
    patch_stride: int = setting(
        0, "Pixels from a patch to the next; 0: 36 for views of 260 pixels, in proportion.", at_least=0
    )
    first_offset: int = setting(2, "Rows from the nearest patch that is predicted.", at_least=1)
    last_offset: int = setting(5, "Rows to the farthest patch that is predicted.", at_least=1)
    directions: int = setting(4, "Directions that are predicted in: down, or all four.", choices=(1, 4))
    prediction_scale: float = setting(0.1, "Factor of the predictions.", above=0)
    context_depth: int = setting(5, "Blocks of the context network.", at_least=1)
    context_dim: int = setting(256, "Width inside of its blocks.", at_least=1)
    proj_out_dim: int = setting(64, "Size of the vectors that are compared.", at_least=1)
