"""Small pictures of images of any kind, for projectors and reports."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image

from tfcontrastive.config import InputError


def displayable(images: np.ndarray) -> np.ndarray:
    """Images as 8-bit RGB, whatever their type and channels.

    Args:
        images: `[N, H, W, C]`, uint8, or float in [0, 1] (clipped). One or two channels show the first as gray, four are
            RGBA on white, more show the first three.

    Returns:
        uint8 `[N, H, W, 3]`.

    Raises:
        InputError: for another shape.
    """
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise InputError(f"`images` must be a non-empty array [N, H, W, C]. Received: shape {images.shape}.")
    if images.dtype != np.uint8:
        images = np.round(np.clip(np.nan_to_num(images.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    if images.shape[-1] == 4:
        colors, opacity = images[..., :3].astype(np.int32), images[..., 3:].astype(np.int32)
        return ((colors * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return images[..., :3] if images.shape[-1] >= 3 else np.repeat(images[..., :1], 3, axis=-1)


def shrunk(image: np.ndarray, size: int) -> Image.Image:
    """One image, uint8 `[H, W, 3]`, made smaller (never larger) until both sides are at most `size` pixels."""
    picture = Image.fromarray(image)
    picture.thumbnail((size, size), Image.Resampling.LANCZOS)
    return picture


def sprite_sheet(images: np.ndarray, size: int) -> Image.Image:
    """All images on one square sheet, row by row, each stretched to `size x size` pixels.

    Args:
        images: `[N, H, W, C]`, as `displayable` takes them.
        size: side of a tile in pixels.

    Returns:
        An RGB picture of ceil(sqrt(N)) x ceil(sqrt(N)) tiles, black where the images end.
    """
    images = displayable(images)
    across = math.ceil(math.sqrt(len(images)))
    sheet = Image.new("RGB", (across * size, across * size))
    for index, image in enumerate(images):
        tile = Image.fromarray(image).resize((size, size), Image.Resampling.LANCZOS)
        sheet.paste(tile, (index % across * size, index // across * size))
    return sheet
