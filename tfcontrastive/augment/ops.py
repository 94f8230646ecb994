"""Every image op of the package, one a function: batched, stateless, with its own parameters for every image."""

from tfcontrastive.augment.blur import gaussian_blur
from tfcontrastive.augment.color import brightness, contrast, grayscale, hue, saturation, solarize
from tfcontrastive.augment.cutout import cutout, sample_cutout_centers
from tfcontrastive.augment.geometry import (
    center_crop_resize,
    crop_and_resize,
    flip,
    random_resized_crop,
    sample_crop_boxes,
    sample_flips,
)
from tfcontrastive.augment.jitter import ColorRange, color_jitter
from tfcontrastive.augment.rotate import rotate

__all__ = [
    "ColorRange",
    "brightness",
    "center_crop_resize",
    "color_jitter",
    "contrast",
    "crop_and_resize",
    "cutout",
    "flip",
    "gaussian_blur",
    "grayscale",
    "hue",
    "random_resized_crop",
    "rotate",
    "sample_crop_boxes",
    "sample_cutout_centers",
    "sample_flips",
    "saturation",
    "solarize",
]
