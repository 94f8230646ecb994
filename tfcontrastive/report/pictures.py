"""Pictures on the page itself."""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageOps

from tfcontrastive.config import InputError
from tfcontrastive.evaluate.thumbnails import displayable, shrunk
from tfcontrastive.report.template import printable, render
from tfcontrastive.system.names import escaped

SIDE = 96  # pixels of a picture on the page; twice as many are kept, for dense screens
_LOSSLESS = 64  # of small pictures every pixel is seen

KINDS = {"": "", "query": "", "same": "✓", "other": "✗"}
"""What a picture is to others, with a sign for those who cannot tell the colours of the frames."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """An image with its caption.

    Args:
        image: `[H, W, C]`, uint8 or float in [0, 1]; None: a box that says that there is no picture.
        name: under it, such as its file or its class.
        detail: a second line.
        kind: "query", or, framed and signed, "same" or "other": whether its class is the one that was looked for.
        alt: what it shows, for those who do not see it; default: name and detail.
    """

    image: np.ndarray | None
    name: str = ""
    detail: str = ""
    kind: str = ""
    alt: str = ""

    def __post_init__(self):
        if self.kind not in KINDS:
            raise InputError(f"`kind` must be one of {', '.join(map(repr, KINDS))}. Received: {self.kind!r}.")

    def html(self, side: int = SIDE) -> Markup:
        alt = self.alt or ", ".join(printable(part) for part in (self.name, self.detail) if part)
        picture = None if self.image is None else image_tag(self.image, alt, side=side)
        return render("picture.html", picture=picture, one=self, sign=KINDS[self.kind])


def data_uri(picture: Image.Image, format: str = "PNG", **options: Any) -> str:
    """A picture as a `data:` address, so that the page needs no other file."""
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def image_tag(image: np.ndarray, alt: str, *, side: int = SIDE) -> Markup:
    """The `<img>` of an image `[H, W, C]`: at most twice `side` pixels, as JPEG; small ones keep every pixel, as PNG."""
    (shown,) = displayable(np.asarray(image)[None])
    picture = shrunk(shown, 2 * side)
    if np.array_equal(shown[..., 0], shown[..., 1]) and np.array_equal(shown[..., 0], shown[..., 2]):
        picture = picture.convert("L")  # a third of the bytes
    small = max(picture.size) <= _LOSSLESS
    uri = data_uri(picture) if small else data_uri(picture, "JPEG", quality=85)
    return render("img.html", uri=uri, alt=alt, pixels=small)


def sheet(images: Sequence[np.ndarray], side: int) -> Image.Image:
    """All images on one square sheet, row by row, the middle of each as a tile of `side` pixels."""
    across = math.ceil(math.sqrt(len(images)))
    whole = Image.new("RGB", (across * side, math.ceil(len(images) / across) * side))
    for index, image in enumerate(images):
        tile = Image.fromarray(displayable(np.asarray(image)[None])[0])
        tile = ImageOps.fit(tile, (side, side), Image.Resampling.LANCZOS)
        whole.paste(tile, (index % across * side, index // across * side))
    return whole


def class_name(label: int, names: Sequence[str] | None) -> str:
    """The name of a class, its number where there is none, and a dash for an unlabelled example."""
    if label < 0:
        return "–"
    return escaped(str(names[label])) if names is not None and label < len(names) else str(label)
