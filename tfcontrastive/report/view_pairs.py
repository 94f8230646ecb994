"""What the augmentation makes of an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.pictures import image_tag
from tfcontrastive.report.template import render


@dataclasses.dataclass(frozen=True)
class ViewPairs:
    """The views of some images side by side, as the encoder sees them.

    Args:
        title: the section's heading.
        views: one array `[N, H, W, C]` a view, uint8 or float in [0, 1]; the same N images in each.
        caption: a sentence under the heading.
    """

    title: str
    views: Sequence[np.ndarray]
    caption: str = ""

    def __post_init__(self):
        lengths = [len(view) for view in self.views]
        if not lengths or len(set(lengths)) != 1:
            raise InputError(f"`views` must be arrays of the same number of images. Received: {lengths}.")

    def html(self) -> str:
        groups = [
            [image_tag(image, f"image {row}, view {number}") for number, image in enumerate(group, start=1)]
            for row, group in enumerate(zip(*self.views, strict=True), start=1)
        ]
        return render("views.html", caption=self.caption, groups=groups)
