"""The page itself: title, contents, sections."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from typing import Protocol

from tfcontrastive import storage
from tfcontrastive.report.markup import paragraph, text
from tfcontrastive.report.style import SCRIPT, STYLE


class Section(Protocol):
    """One part of a report. Whatever has a title and HTML can be one."""

    @property
    def title(self) -> str: ...

    def html(self) -> str:
        """What stands under the title. Everything it shows must be in it: the page may load nothing."""


# The browser itself then refuses whatever is not on the page.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write_report(
    path: str | os.PathLike[str], *, title: str, sections: Sequence[Section], subtitle: str = "", footer: str = ""
) -> str:
    """Writes a page that shows a run: one HTML file that loads nothing else, fit for any width, light and dark.

    The file appears whole or not at all.

    Args:
        path: where to write; the folder is made when missing.
        title: of the page.
        sections: what to show, in this order: `Headline`, `Table`, `Curves`, `ViewPairs`, `Neighbours`, `EmbeddingMap`,
            `Notes`, or anything else with `title` and `html()`.
        subtitle: a sentence under the title.
        footer: a sentence at the end; the date when empty.

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
    page = _page(title, subtitle, sections, footer or f"Written {datetime.datetime.now():%Y-%m-%d %H:%M}")
    storage.make_dirs(os.path.dirname(path) or ".")
    storage.write(path, page)
    return path


def _page(title: str, subtitle: str, sections: Sequence[Section], footer: str) -> str:
    parts = [(f"s{number}", section.title, section.html()) for number, section in enumerate(sections)]
    links = "".join(f'<a href="#{name}">{text(heading)}</a>' for name, heading, _ in parts if heading)
    body = "\n".join(
        f'<section id="{name}">{f"<h2>{text(heading)}</h2>" if heading else ""}\n{content}\n</section>'
        for name, heading, content in parts
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<header><h1>{text(title)}</h1>{paragraph(subtitle)}<nav>{links if len(parts) > 2 else ""}</nav></header>
<main>
{body}
</main>
<footer>{text(footer)}</footer>
<script>{SCRIPT}</script>
</body>
</html>
"""
