"""Image files of many kinds, made of one small picture."""

import io

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 30, 40


def encode(image, kind="PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colors() -> np.ndarray:
    """uint8 `[H, W, 3]`, smooth, so that lossy kinds keep it."""
    x, y = np.meshgrid(np.linspace(0, 1, WIDTH), np.linspace(0, 1, HEIGHT))
    return (np.stack([x, y, (x + y) / 2], axis=-1) * 200 + 20).astype(np.uint8)


def cut_out() -> np.ndarray:
    """uint8 `[H, W, 4]`: opaque at the top, half there in the middle, transparent with hidden green below."""
    picture = np.concatenate([colors(), np.full([HEIGHT, WIDTH, 1], 255, np.uint8)], axis=-1)
    picture[10:20, :, 3] = 100
    picture[20:] = 0, 200, 0, 0
    return picture


def on(rgba: np.ndarray, background: str = "white") -> np.ndarray:
    """An RGBA picture on a colour, by Pillow, as int."""
    image = Image.fromarray(rgba)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")).astype(
        int
    )


def tiff(pixels: np.ndarray, **options) -> bytes:
    import tifffile

    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, **options)
    return buffer.getvalue()
