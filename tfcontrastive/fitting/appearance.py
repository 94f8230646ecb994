"""How images look as a whole, by their thumbnails: have they a left and a right, are they ink on paper?"""

from __future__ import annotations

import numpy as np

_BAND = 51  # of 255: a fifth, at either end


def asymmetry(thumbnails: np.ndarray) -> float:
    """How much of what mirroring changes is alike in all images.

    a = |mean_i d_i|^2 / mean_i |d_i|^2, d_i = x_i - mirrored(x_i), less what chance gives, 1 / N. About 0 where left and
    right are interchangeable, 1 where all images are one image.

    Args:
        thumbnails: uint8 `[N, S, S, C]`.

    Returns:
        a number in [0, 1].

    Examples:
        >>> asymmetry(np.zeros([4, 8, 8, 1], np.uint8))
        0.0
    """
    pixels = thumbnails.astype(np.float32)
    change = (pixels - pixels[:, :, ::-1]).reshape(len(pixels), -1)
    total = float(np.mean(np.sum(change**2, axis=1)))
    if total == 0 or len(pixels) < 2:
        return 0.0
    alike = float(np.sum(np.mean(change, axis=0) ** 2)) / total
    return max(0.0, (alike - 1 / len(pixels)) / (1 - 1 / len(pixels)))


def ink(thumbnails: np.ndarray) -> float:
    """The part of the pixels that are nearly black or nearly white, both of which must be there, in [0, 1].

    Args:
        thumbnails: uint8 `[N, S, S, C]`.
    """
    gray = thumbnails.astype(np.float32).mean(axis=-1)
    dark, light = float(np.mean(gray <= _BAND)), float(np.mean(gray >= 255 - _BAND))
    return dark + light if min(dark, light) > 0.02 else 0.0
