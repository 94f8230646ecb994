"""Every image op of the package, one a function: batched, stateless, with its own parameters for every image."""

from tfcontrastive.augment.blur import gaussian_blur
from tfcontrastive.augment.color import brightness, contrast, grayscale, hue, saturation, solarize
from tfcontrastive.augment.geometry import (
    center_crop_resize,
    crop_and_resize,
    flip,
    random_resized_crop,
    sample_crop_boxes,
    sample_flips,
)
from tfcontrastive.augment.jitter import ColorRange, color_jitter

__all__ = [
    "ColorRange",
    "brightness",
    "center_crop_resize",
    "color_jitter",
    "contrast",
    "crop_and_resize",
    "flip",
    "gaussian_blur",
    "grayscale",
    "hue",
    "random_resized_crop",
    "sample_crop_boxes",
    "sample_flips",
    "saturation",
    "solarize",
]
