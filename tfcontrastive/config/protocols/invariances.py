"""The settings of the protocol invariances."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import setting
from tfcontrastive.config.protocols.base import FeatureSettings


@dataclasses.dataclass(frozen=True)
class InvariancesSettings(FeatureSettings):
    """SimCLR's Table 3: does an MLP on h, and on g(h), tell color from gray, rotations, noise and Sobel edges?"""

    train_images: int = setting(5000, "Training images to learn from.", at_least=10)
    eval_images: int = setting(2000, "Held-out images to test on.", at_least=1)
    noise: float = setting(0.1, "Standard deviation of the Gaussian noise, for images in [0, 1].", above=0)
    hidden_units: int = setting(256, "Width of the MLP.", at_least=1)
    max_epochs: int = setting(100, "Epochs of the MLP at most.", at_least=1)
    seed: int = setting(0, "Seed of the noise and the MLP.", at_least=0)
