"""Pictures with captions: duplicates, outliers, suspects, mistakes; and queries with what was found for them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from tfcontrastive.report.pictures import Picture
from tfcontrastive.report.template import render


@dataclasses.dataclass(frozen=True)
class Gallery:
    """Pictures side by side.

    Args:
        title: the section's heading.
        pictures: each by itself, or a tuple of those that belong together, such as two that are alike.
        caption: a sentence under the heading.
        empty: what is said where there are none.
    """

    title: str
    pictures: Sequence[Picture | Sequence[Picture]]
    caption: str = ""
    empty: str = "None."

    def html(self) -> str:
        groups = [(one,) if isinstance(one, Picture) else tuple(one) for one in self.pictures]
        return render("gallery.html", one=self, groups=groups)


@dataclasses.dataclass(frozen=True)
class PictureRows:
    """Queries, each followed by what was found for it.

    Args:
        title: the section's heading.
        rows: of a query and what was found, the nearest first.
        caption: a sentence under the heading.
    """

    title: str
    rows: Sequence[tuple[Picture, Sequence[Picture]]]
    caption: str = ""

    def html(self) -> str:
        return render("rows.html", one=self)
