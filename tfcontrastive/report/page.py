"""The page itself: title, contents, sections, and where all of it comes from."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from typing import Protocol

from markupsafe import Markup

from tfcontrastive import storage
from tfcontrastive.report.provenance import Provenance
from tfcontrastive.report.template import asset, render


class Section(Protocol):
    """One part of a report. Whatever has a title and HTML can be one."""

    @property
    def title(self) -> str: ...

    def html(self) -> str:
        """What stands under the title. Everything it shows must be in it: the page may load nothing."""


# The browser itself then refuses whatever is not on the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    sections: Sequence[Section],
    subtitle: str = "",
    provenance: Provenance | None = None,
) -> str:
    """Writes a page that shows a run: one HTML file that loads nothing else, fit for any width, light, dark and print.

    The file appears whole or not at all.

    Args:
        path: where to write; the folder is made when missing.
        title: of the page.
        sections: what to show, in this order: `Headline`, `Comparison`, `Table`, `Curves`, `ViewPairs`, `Neighbours`,
            `EmbeddingMap`, `Gallery`, `PerClass`, `ConfusionMatrix`, `Notes`, or anything else with `title` and `html()`.
            One without a title belongs to the one before it.
        subtitle: a sentence under the title.
        provenance: the command, the seed and the data, for the end of the page; version and date are always there.

    Returns:
        The path.

    Raises:
        InputError: when a section's arrays do not fit each other.

    Examples:
        >>> from tfcontrastive.report import Column, Table
        >>> columns = [Column("encoder"), Column("kNN top-1", ".1%", best="highest")]
        >>> table = Table("Results", columns, [("random", 0.77), ("trained", 0.81)])
        >>> write_report("run/report.html", title="SimCLR", sections=[table])
        'run/report.html'
    """
    path = os.fspath(path)
    # Before anything is written: a section may refuse its input.
    page = page_of(title, sections, subtitle, provenance or Provenance())
    storage.make_dirs(os.path.dirname(path) or ".")
    storage.write(path, page)
    return path


def page_of(title: str, sections: Sequence[Section], subtitle: str = "", provenance: Provenance | None = None) -> str:
    """The page as text; the arguments are those of `write_report`. Without `provenance` there is no line about it."""
    parts = [(f"s{number}", one.title, Markup(one.html())) for number, one in enumerate(sections)]
    page = render(
        "page.html",
        policy=_POLICY,
        title=title,
        subtitle=subtitle,
        parts=parts,
        contents=[part for part in parts if part[1]] if len(parts) > 2 else [],
        provenance=provenance,
        style=asset("page.css"),
        scripts=[asset("page.js"), asset("map.js")],
    )
    return str(page)


def in_a_notebook(title: str, sections: Sequence[Section], *, height: int = 700) -> str:
    """A page within another, such as a notebook's `_repr_html_`: a frame, whose styles and scripts stay its own.

    Args:
        title, sections: of `write_report`.
        height: of the frame, in pixels.
    """
    page = html.escape(page_of(title, sections), quote=True)
    return f'<iframe srcdoc="{page}" style="width:100%;height:{height}px;border:0"></iframe>'
