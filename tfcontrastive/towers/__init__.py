"""Contrastive learning on pairs of anything: two encoders whose vectors of one pair are to meet."""

from tfcontrastive.towers.config import TwoTowerConfig
from tfcontrastive.towers.two_tower import TwoTower

__all__ = ["TwoTower", "TwoTowerConfig"]
