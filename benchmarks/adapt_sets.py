"""Sets of images for benchmarks/adapt.py: handwritten digits, and generated surfaces with flaws and shapes on patterns."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE = 32
FLAWS = ("scratch", "pits", "patch", "cracks", "scale", "stain")


def digits() -> tuple[np.ndarray, np.ndarray]:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, enlarged: uint8 `[N, 32, 32, 1]` and labels."""
    from sklearn.datasets import load_digits

    found = load_digits()
    small = (found.images * 15.9).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIZE, SIZE), Image.Resampling.BICUBIC)) for image in small]
    return np.stack(large)[..., None], found.target.astype(np.int32)


def surfaces(count: int = 2_400, seed: int = 0, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Rolled metal with a flaw of one of six kinds: uint8 `[N, S, S, 1]` and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % len(FLAWS)
    return np.stack([_surface(FLAWS[label], rng, size) for label in labels])[..., None], labels.astype(np.int32)


def shapes(count: int = 2_400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four shapes in all colours, sizes and places on patterned backgrounds, in gray: uint8 `[N, 32, 32, 1]` and labels."""
    from tfcontrastive.evaluate import shapes as drawn

    factors = drawn.draw_factors(count, drawn.CONTENT | drawn.STYLE, seed=seed)
    factors["shape"] = np.arange(count) % len(drawn.SHAPES)
    images = drawn.draw_shapes(factors, SIZE, seed=seed + 1).images
    gray = images.mean(axis=-1, keepdims=True)
    return (255 * gray).round().astype(np.uint8), factors["shape"].astype(np.int32)


def _surface(kind: str, rng: np.random.Generator, size: int) -> np.ndarray:
    side = 2 * size
    noise = Image.fromarray(rng.integers(0, 256, (side, side)).astype(np.uint8)).filter(ImageFilter.GaussianBlur(1.2))
    ground = np.asarray(noise, float)
    ground = 14 * (ground - ground.mean()) / ground.std() + 120 + rng.uniform(-30, 30)
    row, column = np.mgrid[:side, :side] / side
    ground += rng.uniform(-25, 25) * column + rng.uniform(-25, 25) * row
    layer = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(layer)
    x, y = rng.uniform(0.25 * side, 0.75 * side, 2)
    strength = rng.uniform(25, 60) * rng.choice([-1, 1])
    if kind == "scratch":
        draw.line([(x, 0), (x + rng.uniform(-15, 15), side)], fill=255, width=int(rng.integers(1, 4)))
    elif kind == "pits":
        for _ in range(rng.integers(8, 20)):
            a, b = rng.uniform(0, side, 2)
            draw.ellipse((a - 2, b - 2, a + 2, b + 2), fill=255)
    elif kind == "patch":
        angles = np.linspace(0, 2 * math.pi, 9)[:-1]
        radii = rng.uniform(8, 20, 8)
        draw.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a, r in zip(angles, radii, strict=True)], fill=255)
    elif kind == "cracks":
        for _ in range(5):
            points = [(rng.uniform(0, side), rng.uniform(0, side))]
            for _ in range(5):
                points.append((points[-1][0] + rng.uniform(-9, 9), points[-1][1] + rng.uniform(-9, 9)))
            draw.line(points, fill=255, width=1)
    elif kind == "scale":
        for at in range(0, side, int(rng.integers(7, 13))):
            draw.arc((at - 20, -10, at + 20, side + 10), 0, 360, fill=255, width=2)
    else:
        draw.ellipse((x - rng.uniform(8, 18), y - 6, x + rng.uniform(8, 18), y + 6), fill=200)
        layer = layer.filter(ImageFilter.GaussianBlur(4))
    image = ground + strength * np.asarray(layer, float) / 255
    small = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).resize((size, size), Image.Resampling.BOX)
    return np.asarray(small)
