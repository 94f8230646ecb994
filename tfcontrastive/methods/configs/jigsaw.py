"""The settings of jigsaw puzzles."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class JigsawConfig(BaseConfig):
    """Jigsaw puzzles' own settings."""

    num_permutations: int = setting(
        1000, "Orders of the nine tiles that are told apart, the more distant ones first.", at_least=2, at_most=362_880
    )
    hidden_dim: int = setting(1000, "Width of a tile's vector, nine of which the classifier sees.", at_least=1)
    tile_size: int | None = setting(
        None, "Height and width of a tile in pixels; default: a quarter of the view's, 64 of 255.", at_least=1
    )
    standardize_tiles: bool = setting(
        False, "Give all tiles one mean and standard deviation, so that neighbours do not tell by their brightness."
    )
