"""ImageSpec: what a network must know of images."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class ImageSpec:
    """What a network must know of the images that it is for.

    Attributes:
        channels: of an image.
        num_classes: number of classes, None where there are no labels.
        name: of the data, for an error's sake.
    """

    channels: int
    num_classes: int | None = None
    name: str = "the data"
