"""Every image op of the package, one a function: batched, stateless, with its own parameters for every image."""

from tfcontrastive.augment.blur import gaussian_blur
from tfcontrastive.augment.color import brightness, contrast, grayscale, hue, saturation, solarize
from tfcontrastive.augment.cutout import cutout, sample_cutout_centers
from tfcontrastive.augment.equalize import equalize
from tfcontrastive.augment.geometry import (
    center_crop_resize,
    crop_and_resize,
    flip,
    random_resized_crop,
    sample_crop_boxes,
    sample_flips,
)
from tfcontrastive.augment.jitter import ColorRange, color_jitter
from tfcontrastive.augment.lab import rgb_to_lab
from tfcontrastive.augment.rand_augment import rand_augment
from tfcontrastive.augment.rotate import rotate
from tfcontrastive.augment.tiles import random_tiles
from tfcontrastive.augment.warp import affine

__all__ = [
    "ColorRange",
    "affine",
    "brightness",
    "center_crop_resize",
    "color_jitter",
    "contrast",
    "crop_and_resize",
    "cutout",
    "equalize",
    "flip",
    "gaussian_blur",
    "grayscale",
    "hue",
    "random_resized_crop",
    "rand_augment",
    "random_tiles",
    "rgb_to_lab",
    "rotate",
    "sample_crop_boxes",
    "sample_cutout_centers",
    "sample_flips",
    "saturation",
    "solarize",
]
