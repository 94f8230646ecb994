"""The settings of the protocol knn."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import setting
from tfcontrastive.config.protocols.base import BagSettings


@dataclasses.dataclass(frozen=True)
class KNNSettings(BagSettings):
    """Weighted k-nearest-neighbour classification of frozen features by cosine similarity."""

    k: int = setting(200, "Neighbours that vote; at most the training images of the smallest class.", at_least=1)
    temperature: float = setting(0.1, "Temperature of the votes' weights exp(similarity / T).", above=0)
