"""Folders of generated images: shapes of four classes, on any background."""

import pathlib

import numpy as np
from PIL import Image

from tfcontrastive.evaluate import shapes

CLASSES = shapes.SHAPES


def drawn(count: int, size: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """uint8 `[N, S, S, 3]` and the class of each, int `[N]`."""
    factors = shapes.draw_factors(count, shapes.CONTENT | shapes.STYLE, seed=seed)
    factors["shape"] = np.arange(count) % len(CLASSES)
    made = shapes.draw_shapes(factors, size, seed=seed + 1)
    return (made.images * 255).round().astype(np.uint8), factors["shape"]


def write(root: pathlib.Path, count: int, size: int = 24, *, flat: bool = False, split: str = "") -> pathlib.Path:
    """A PNG file of each, in a folder of its class."""
    for number, (image, label) in enumerate(zip(*drawn(count, size), strict=True)):
        folder = root / split / ("" if flat else CLASSES[label])
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number:04}.png")
    return root
