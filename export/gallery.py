"""Search results as one self-contained HTML page."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfcontrastive import storage
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.transcode import as_native
from tfcontrastive.evaluate.thumbnails import shrunk
from tfcontrastive.export.image_bytes import decode_image
from tfcontrastive.system.names import escaped

_SIDE = 128  # pixels of a picture on the page
_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 2rem; color: #1d2733; background: #fafbfc }
section { display: flex; gap: .75rem; margin: 0 0 1.5rem; padding: 1rem; background: #fff; border-radius: 8px;
          box-shadow: 0 1px 3px #0002; overflow-x: auto }
figure { margin: 0; width: 128px; flex: none }
figure:first-child { padding-right: .75rem; border-right: 2px solid #d5dbe3 }
img { width: 128px; height: 128px; object-fit: contain; background: #eef1f4; border-radius: 4px }
figcaption { font-size: 12px; overflow-wrap: anywhere } b { display: block }
"""


def write_gallery(
    path: str | os.PathLike,
    queries: Sequence[str],
    ids: Sequence[Sequence[str]],
    similarities: np.ndarray,
    picture: Callable[[str], bytes | None],
    query_picture: Callable[[str], bytes | None] | None = None,
    rendering: Rendering | None = None,
) -> None:
    """Writes a page with one row a query: its picture, then its neighbours with their similarity.

    Pictures are decoded as the network sees them. Of a damaged file, or one of more than `MAX_PIXELS`, there is none.

    Args:
        path: the HTML file.
        queries: names of the queries.
        ids: `[Q][k]`, as `nearest` returns.
        similarities: `[Q, k]`, likewise.
        picture: the image file of an id, or None where there is none.
        query_picture: the same for queries; None takes `picture`.
        rendering: of transparent and of 16-bit images; None is white, and their high 8 bits.

    Examples:
        >>> import pathlib
        >>> from tfcontrastive.export import embed_files, nearest
        >>> ids, similarities = nearest("vectors", embed_files("exported", ["cat.jpg"]), k=5)
        >>> picture = lambda name: pathlib.Path("photos", name).read_bytes()
        >>> query_picture = lambda name: pathlib.Path(name).read_bytes()
        >>> write_gallery("neighbours.html", ["cat.jpg"], ids, similarities, picture, query_picture)
    """
    rows = []
    for name, row, values in zip(queries, ids, similarities, strict=True):
        figures = [_figure(name, "query", (query_picture or picture)(name), rendering)]
        figures += [
            _figure(other, f"{value:.3f}", picture(other), rendering) for other, value in zip(row, values, strict=True)
        ]
        rows.append(f"<section>{''.join(figures)}</section>")
    storage.write(
        path,
        f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>Nearest neighbours</title>'
        f"<style>{_STYLE}</style>\n<h1>Nearest neighbours</h1>\n" + "\n".join(rows) + "\n</html>\n",
    )


def _figure(name: str, label: str, data: bytes | None, rendering: Rendering | None) -> str:
    name = escaped(name)
    caption = f"<figcaption><b>{html.escape(label)}</b>{html.escape(name)}</figcaption>"
    return f'<figure><img src="{_thumbnail(data, rendering)}" alt="{html.escape(name)}">{caption}</figure>'


def _thumbnail(data: bytes | None, rendering: Rendering | None) -> str:
    """A small picture as a data URL; nothing, for what is no picture or too large a one."""
    if data is None:
        return "data:,"
    try:
        pixels = decode_image(tf.constant(as_native(data)), 3, rendering).numpy()
    except (ValueError, tf.errors.InvalidArgumentError):
        return "data:,"
    image = shrunk(pixels, _SIDE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG" if max(image.size) <= 64 else "JPEG", quality=85)
    kind = "png" if max(image.size) <= 64 else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"
