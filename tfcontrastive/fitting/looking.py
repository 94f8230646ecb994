"""What is known of one image before anything is trained: its size, kind and colours, and a thumbnail."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfcontrastive.data import FolderSource, Source
from tfcontrastive.data.transcode import SNIFFED_BYTES, as_native, kind_of
from tfcontrastive.evaluate import displayable
from tfcontrastive.fitting.duplicates import digest

THUMBNAIL = 32
MOST_PIXELS = 100_000_000
"""Of an image: more would take a gigabyte and more to decode, several at a time."""

_GRAY = 4  # by how much the channels of a gray pixel may differ, after a JPEG


class Facts(NamedTuple):
    """What is known of one image.

    Attributes:
        height, width: in pixels.
        kind: of the file; "array" of one in memory.
        bits: of a channel, 8 or 16.
        transparent: whether any of it is.
        gray: whether it has no colour.
        thumbnail: uint8 `[S, S, 3]`, squeezed to a square, on white.
    """

    height: int
    width: int
    kind: str
    bits: int
    transparent: bool
    gray: bool
    thumbnail: np.ndarray


def of_array(image: np.ndarray) -> Facts:
    """Of uint8 `[H, W, C]`."""
    height, width, channels = image.shape
    picture = Image.fromarray(displayable(image[None])[0]).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    pixels = np.asarray(picture)
    transparent = channels == 4 and bool((image[..., 3] < 255).any())
    return Facts(height, width, "array", 8, transparent, channels < 3 or _is_gray(pixels), pixels)


def of_file(content: bytes) -> Facts | None:
    """Of an image file; None where it cannot be read."""
    kind = kind_of(content[:SNIFFED_BYTES])
    if kind is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with _opened(content) as image:
                width, height = image.size
                bits = 16 if image.mode.startswith(("I", "F")) or (content[24:25] == b"\x10" and kind == "PNG") else 8
                image.draft("RGB", (2 * THUMBNAIL, 2 * THUMBNAIL))
                return Facts(height, width, kind, bits, *_seen(image))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # whatever Pillow raises of a damaged file
        return None


def looks(source: Source, split: str, at: Sequence[int]) -> list[Facts | None]:
    """Facts of some images of a split.

    Args:
        source: of any kind.
        split: its name.
        at: their numbers in it, ascending.
    """
    if isinstance(source, FolderSource):
        paths = source.paths(split)
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda row: of_file(_content(paths[row])), at))
    held = source.arrays(split)
    if held is not None:
        return [of_array(held[0][row]) for row in at]
    wanted = set(at)
    return [of_file(content) for row, content in enumerate(_encoded(source, split)) if row in wanted]


def digests(source: Source) -> dict[str, list[str]]:
    """By split, what tells the content of each image from others': equal for equal files or arrays, over all splits.

    Of a folder only files of equal size are read.
    """
    if isinstance(source, FolderSource):
        paths = {split: source.paths(split) for split in source.splits}
        times = collections.Counter(_size(path) for some in paths.values() for path in some)

        def of(path: str) -> str:
            size = _size(path)
            return f"{size}" if times[size] == 1 else f"{size} {digest(_content(path))}"

        with ThreadPoolExecutor() as pool:
            return {split: list(pool.map(of, some)) for split, some in paths.items()}
    found = {}
    for split in source.splits:
        held = source.arrays(split)
        if held is not None:
            found[split] = [digest(np.ascontiguousarray(image).tobytes()) for image in held[0]]
        else:
            found[split] = [digest(content) for content in _encoded(source, split)]
    return found


def too_large(source: Source) -> tuple[str, int] | None:
    """The first image file of more than `MOST_PIXELS`, with the number that it has, by the files' headers alone."""
    if not isinstance(source, FolderSource):
        return None
    paths = [path for split in source.splits for path in source.paths(split)]
    with ThreadPoolExecutor() as pool:
        for path, pixels in zip(paths, pool.map(_pixels, paths), strict=True):
            if pixels > MOST_PIXELS:
                return path, pixels
    return None


def _pixels(path: str) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with open(path, "rb") as file, Image.open(file) as image:
                return image.width * image.height
    except Image.DecompressionBombError as error:  # "Image size (1089000000 pixels) exceeds ...": it opens no such file
        told = re.search(r"\d+", str(error))
        return int(told[0]) if told else 2 * MOST_PIXELS
    except (OSError, ValueError, SyntaxError):  # damaged, or of a kind that Pillow does not read
        return 0


def _content(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:  # told of where the source is checked
        return b""


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


def _encoded(source: Source, split: str) -> Iterator[bytes]:
    """The image files of a source that has no paths, in order."""
    yield from source.references(split).map(lambda reference, _: source.read(reference)).as_numpy_iterator()


@contextlib.contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    try:
        image = Image.open(io.BytesIO(content))
    except OSError:  # of a kind that Pillow does not read
        image = Image.open(io.BytesIO(as_native(content)))
    with image:
        yield image


def _seen(image: Image.Image) -> tuple[bool, bool, np.ndarray]:
    """(transparent, gray, thumbnail)."""
    transparent = False
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.NEAREST), np.float64)
        values = (values - values.min()) / max(np.ptp(values), 1) * 255
        return False, True, np.repeat(values.astype(np.uint8)[..., None], 3, axis=-1)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = image.convert("RGBA")
        transparent = rgba.getextrema()[3][0] < 255
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    pixels = np.asarray(image.convert("RGB").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX))
    return transparent, _is_gray(pixels), pixels


def _is_gray(pixels: np.ndarray) -> bool:
    return int(np.ptp(pixels.astype(np.int16), axis=-1).max()) <= _GRAY
