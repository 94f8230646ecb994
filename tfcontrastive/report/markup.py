"""The small pieces of HTML that the sections share."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from tfcontrastive.evaluate.thumbnails import displayable, shrunk
from tfcontrastive.system.names import escaped

PALETTE_SIZE = 10  # colours that style.py defines for both themes


def text(value: Any) -> str:
    """A value as text that is safe between tags and in quoted attributes."""
    value = str(value)
    try:
        value.encode()
    except UnicodeEncodeError:  # holds the name of a file that is not UTF-8
        value = escaped(value)
    return html.escape(value, quote=True)


def paragraph(value: str) -> str:
    """A paragraph, or nothing for an empty text."""
    return f"<p>{text(value)}</p>" if value else ""


def data_uri(picture: Image.Image, format: str = "PNG", **options: Any) -> str:
    """A picture as a `data:` address, so that the page needs no other file."""
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def image_tags(images: np.ndarray, alts: Sequence[str], *, side: int = 96) -> list[str]:
    """`<img>` tags of images `[N, H, W, C]`.

    Large images shrink to twice `side` pixels at most, sharp on dense screens; small ones keep hard pixels.
    """
    tags = []
    for image, alt in zip(displayable(images), alts, strict=True):
        picture = shrunk(image, 2 * side)
        if np.array_equal(image[..., 0], image[..., 1]) and np.array_equal(image[..., 0], image[..., 2]):
            picture = picture.convert("L")  # a third of the bytes
        kind = ' class="pixels"' if max(picture.size) < side else ""
        tags.append(f'<img{kind} src="{data_uri(picture)}" alt="{text(alt)}" loading="lazy">')
    return tags


def class_name(label: int, names: Sequence[str] | None) -> str:
    """The name of a class, its number where there is none, and a dash for an unlabelled example."""
    if label < 0:
        return "–"
    return escaped(str(names[label])) if names is not None and label < len(names) else str(label)


def colour(index: int, count: int) -> str:
    """The colour of one of `count` series or classes: the palette, or hues spread evenly where it is too short."""
    if count <= PALETTE_SIZE:
        return f"var(--c{index})"
    return f"hsl({360 * index / count:.0f} {(65, 90)[index % 2]}% {(45, 60, 52)[index % 3]}%)"
