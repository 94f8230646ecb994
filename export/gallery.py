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
from tfcontrastive.system.names import escaped

MOST_GROUPS, MOST_PICTURES = 100, 12
"""Groups of near duplicates on a page, and pictures of one."""


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
        query = report.Picture(_pixels((query_picture or picture)(name), rendering), escaped(name), kind="query")
        found = [
            report.Picture(_pixels(picture(other), rendering), escaped(other), f"{value:.3f}")
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


def write_duplicates(
    path: str | os.PathLike,
    pairs: Sequence[tuple[str, str, float]],
    picture: Callable[[str], bytes | None],
    rendering: Rendering | None = None,
    *,
    threshold: float,
    subtitle: str = "",
    provenance: report.Provenance | None = None,
) -> None:
    """Writes a page of the images that are nearly equal: those that pairs join are shown together, the largest first.

    Args:
        path: the HTML file.
        pairs: (id, id, similarity), as `near_duplicates` gives them.
        picture: the image file of an id, or None where there is none.
        rendering: as of `write_gallery`.
        threshold: the least similarity that was asked for.
        subtitle, provenance: as of `write_gallery`.

    Examples:
        >>> import pathlib
        >>> from tfcontrastive.export import near_duplicates
        >>> picture = lambda name: pathlib.Path("photos", name).read_bytes()
        >>> write_duplicates("duplicates.html", list(near_duplicates("vectors")), picture, threshold=0.98)
    """
    together = joined(pairs)
    groups = [
        tuple(
            report.Picture(_pixels(picture(name), rendering), escaped(name), detail) for name, detail in _shown(group)
        )
        for group in together[:MOST_GROUPS]
    ]
    images = sum(len(group) for group in together)
    figures = [
        report.Figure("Groups", f"{len(together):,}", f"{images:,} images"),
        report.Figure("Pairs", f"{len(pairs):,}", f"with a similarity of {threshold:g} or more"),
        report.Figure("To spare", f"{images - len(together):,}", "images, if one of each group stays"),
    ]
    caption = (
        "Images whose vectors are that near to one another, or to another of their group. Under each the similarity to the "
        "first of its group, where the two are a pair."
    )
    if len(together) > MOST_GROUPS:
        caption += f" The {MOST_GROUPS} largest of {len(together):,} groups; the command lists all pairs."
    report.write_report(
        path,
        title="Near duplicates",
        subtitle=subtitle,
        sections=[report.Headline(figures), report.Gallery("Groups", groups, caption, empty="There are none.")],
        provenance=provenance,
    )


def joined(pairs: Sequence[tuple[str, str, float]]) -> list[dict[str, float | None]]:
    """Groups of images that pairs join, the largest first: {id: similarity to the first; None: the two are no pair}.

    Examples:
        >>> joined([("a", "b", 0.99), ("c", "d", 1.0), ("b", "e", 0.98)])
        [{'a': None, 'b': 0.99, 'e': None}, {'c': None, 'd': 1.0}]
    """
    of: dict[str, list[str]] = {}
    for first, second, _ in pairs:
        own, other = of.setdefault(first, [first]), of.setdefault(second, [second])
        if own is not other:
            own += other
            of.update(dict.fromkeys(other, own))
    known = {(first, second): similarity for first, second, similarity in pairs}
    order = {name: number for number, name in enumerate(of)}  # of their first occurrence
    groups = {id(group): sorted(group, key=order.__getitem__) for group in of.values()}.values()
    return [
        {name: known.get((group[0], name), known.get((name, group[0]))) for name in group}
        for group in sorted(groups, key=len, reverse=True)
    ]


def _shown(group: dict[str, float | None]) -> list[tuple[str, str]]:
    """(id, what stands under it) of the first images of a group."""
    shown = [(name, "" if value is None else f"{value:.4f}") for name, value in list(group.items())[:MOST_PICTURES]]
    if len(group) > len(shown):
        name, detail = shown[-1]
        shown[-1] = name, f"{detail}, and {len(group) - len(shown):,} more".removeprefix(", ")
    return shown


def _pixels(data: bytes | None, rendering: Rendering | None) -> np.ndarray | None:
    """The image `[H, W, 3]`; None for what is none, or too large a one."""
    if data is None:
        return None
    try:
        return decode_image(tf.constant(as_native(data)), 3, rendering).numpy()
    except (ValueError, tf.errors.InvalidArgumentError):
        return None
