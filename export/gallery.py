"""Search results as one self-contained HTML page."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tfcontrastive import report
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.data.transcode import as_native
from tfcontrastive.export.image_bytes import decode_image


def write_gallery(
    path: str | os.PathLike,
    queries: Sequence[str],
    ids: Sequence[Sequence[str]],
    similarities: np.ndarray,
    picture: Callable[[str], bytes | None],
    query_picture: Callable[[str], bytes | None] | None = None,
    rendering: Rendering | None = None,
    *,
    subtitle: str = "",
    provenance: report.Provenance | None = None,
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
        subtitle: a sentence under the title, such as the model.
        provenance: the command and the data, for the end of the page.

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
        query = report.Picture(_pixels((query_picture or picture)(name), rendering), name, kind="query")
        found = [
            report.Picture(_pixels(picture(other), rendering), other, f"{value:.3f}")
            for other, value in zip(row, values, strict=True)
        ]
        rows.append((query, found))
    caption = "Each image, then those whose vectors are nearest, with the cosine of the angle between them."
    report.write_report(
        path,
        title="Nearest neighbours",
        subtitle=subtitle,
        sections=[report.PictureRows("", rows, caption)],
        provenance=provenance,
    )


def _pixels(data: bytes | None, rendering: Rendering | None) -> np.ndarray | None:
    """The image `[H, W, 3]`; None for what is none, or too large a one."""
    if data is None:
        return None
    try:
        return decode_image(tf.constant(as_native(data)), 3, rendering).numpy()
    except (ValueError, tf.errors.InvalidArgumentError):
        return None
