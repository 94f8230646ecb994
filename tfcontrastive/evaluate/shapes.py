"""Images made to order: their content (shape, size, position) and their style (colour, texture, background) are known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfcontrastive.config import InputError

SHAPES = ("disk", "square", "triangle", "cross")
SIZES = (0.13, 0.18, 0.24)  # half the height, as a part of the image's
CELLS = 3  # places a side
TEXTURES = ("plain", "stripes", "checks", "dots")
# No background is as light as a colour, so that shapes are seen in gray images too.
COLOURS = np.array(
    [[0.95, 0.85, 0.20], [0.85, 0.20, 0.15], [0.25, 0.45, 0.95], [0.30, 0.80, 0.45], [0.70, 0.40, 0.80]], np.float32
)
BACKGROUNDS = np.array([[0.02, 0.02, 0.05], [0.22, 0.11, 0.05], [0.18, 0.26, 0.32], [0.97, 0.97, 0.94]], np.float32)

CONTENT = {"shape": len(SHAPES), "size": len(SIZES), "position": CELLS**2}
STYLE = {"color": len(COLOURS), "texture": len(TEXTURES), "background": len(BACKGROUNDS)}
"""Factors and how many values each has."""


@dataclasses.dataclass(frozen=True)
class Shapes:
    """Images and the factors they were made from.

    Attributes:
        images: float32 `[N, S, S, 3]` in [0, 1].
        factors: by name (of `CONTENT` and `STYLE`), int `[N]`.
    """

    images: np.ndarray
    factors: dict[str, np.ndarray]


def draw_factors(count: int, names: dict[str, int], *, seed: int | Sequence[int]) -> dict[str, np.ndarray]:
    """Values of factors, each uniform and independent of the others: by name, int `[count]`."""
    rng = np.random.default_rng(seed)
    return {name: rng.integers(values, size=count) for name, values in names.items()}


def draw_shapes(factors: dict[str, np.ndarray], image_size: int, *, seed: int | Sequence[int]) -> Shapes:
    """Draws one shape an image.

    Beside the factors, which are given, each image has small chance of its own: where exactly the shape lies in its
    cell, how it is turned (up to 15 degrees), where its texture starts, and how light background and colour are. It
    depends on the seed and the image's number.

    Args:
        factors: by name, of all of `CONTENT` and `STYLE`, int `[N]`.
        image_size: S in pixels, at least 8.
        seed: of what the factors leave open.

    Returns:
        The images and the factors.

    Raises:
        InputError: a factor is missing, or the images are too small.

    Examples:
        >>> draw_shapes(draw_factors(4, CONTENT | STYLE, seed=0), 32, seed=1).images.shape
        (4, 32, 32, 3)
    """
    missing = [name for name in CONTENT | STYLE if name not in factors]
    if missing:
        raise InputError(f"`factors` must hold {', '.join(CONTENT | STYLE)}. Received: none of {', '.join(missing)}.")
    if image_size < 8:
        raise InputError(f"`image_size` must be >= 8. Received: image_size={image_size}.")
    count = len(factors["shape"])
    rng = np.random.default_rng(seed)
    jitter, turn, phase, light = (rng.uniform(-1, 1, [count, n]).astype(np.float32) for n in (2, 1, 2, 2))

    def column(values):
        return np.asarray(values, np.float32).reshape(count, 1, 1)

    ticks = ((np.arange(image_size) + 0.5) / image_size).astype(np.float32)
    y, x = ticks[None, :, None], ticks[None, None, :]
    row, cell_column = np.divmod(factors["position"], CELLS)
    center_y, center_x = (0.5 + 0.22 * (at - 1) + 0.03 * jitter[:, axis] for axis, at in enumerate((row, cell_column)))
    angle = column(turn[:, 0] * np.pi / 12)
    dy, dx = y - column(center_y), x - column(center_x)
    half = column(np.take(SIZES, factors["size"]))
    u = (np.cos(angle) * dx + np.sin(angle) * dy) / half
    v = (np.cos(angle) * dy - np.sin(angle) * dx) / half
    distance = _distance(u, v, factors["shape"])
    mask = np.clip(0.5 - distance * half * image_size, 0, 1)[..., None]  # one pixel of smooth edge

    stripe = _texture(u, v, factors["texture"], phase)[..., None]
    shade = (1 + 0.08 * column(light[:, 0]))[..., None]
    inside = np.take(COLOURS, factors["color"], axis=0)[:, None, None] * (1 - 0.4 * stripe) * shade
    outside = np.take(BACKGROUNDS, factors["background"], axis=0)[:, None, None]
    outside = outside * (1 + 0.08 * column(light[:, 1]))[..., None]
    images = np.clip(mask * inside + (1 - mask) * outside, 0, 1).astype(np.float32)
    return Shapes(images, {name: np.asarray(values) for name, values in factors.items()})


def _distance(u: np.ndarray, v: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """About how far each point lies outside of its image's shape, below 0 inside, in units of its size."""
    a, b = np.abs(u), np.abs(v)
    square = np.maximum(a, b) - 0.85
    every = [
        np.hypot(u, v) - 1,
        square,
        np.maximum(v - 0.75, (a * 1.5 - v - 0.95) * 0.5547),  # the sides' normals have length 1.80
        np.maximum(np.maximum(a, b) - 1, np.minimum(a, b) - 0.36),
    ]
    return np.choose(np.asarray(shape)[:, None, None], every)


def _texture(u: np.ndarray, v: np.ndarray, texture: np.ndarray, phase: np.ndarray) -> np.ndarray:
    """How dark the pattern is at each point, in [0, 1]."""
    first, second = (phase[:, axis, None, None] for axis in range(2))
    wave_u, wave_v = np.sin(6.5 * (u + first)), np.sin(6.5 * (v + second))
    every = [
        np.zeros(u.shape, np.float32),
        _step(np.sin(6.5 * (u + v + first))),
        _step(3 * wave_u * wave_v),
        _step(2.5 * (wave_u + wave_v - 0.9)),
    ]
    return np.choose(np.asarray(texture)[:, None, None], every)


def _step(wave: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 2 * wave, 0, 1)
