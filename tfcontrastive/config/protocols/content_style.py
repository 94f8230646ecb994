"""The settings of the protocol content_style."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tfcontrastive.config.base import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class ContentStyleSettings(BaseConfig):
    """ReLIC's premise on generated images: linear probes of content and of style, divergence of p(Y|f(x)) across styles."""

    needs_dataset: ClassVar[bool] = False  # it makes its own images

    image_size: int | None = setting(None, "Height and width; default: the encoder's own, else 64.", at_least=8)
    train_images: int = setting(3000, "Generated images that the probes learn from.", at_least=100)
    eval_images: int = setting(1500, "Generated images that the probes are tested on.", at_least=1)
    contents: int = setting(150, "Contents whose styles are compared.", at_least=2)
    styles: int = setting(8, "Styles that each content is shown in.", at_least=2)
    eval_batch_size: int = setting(256, "Images that the encoder takes at a time.", at_least=1, may_change=True)
    seed: int = setting(0, "Seed of the images and the probes' validation split.", at_least=0)
