"""The settings of rotation prediction."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class RotationConfig(BaseConfig):
    """Rotation prediction's own settings."""

    hidden_dim: int = setting(
        0, "Hidden width of the classifier of turns; 0: a linear one, as in the paper.", at_least=0
    )
