"""Words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tfcontrastive.report.template import render


@dataclasses.dataclass(frozen=True)
class Notes:
    """Paragraphs, then named facts such as where things are.

    Args:
        title: the section's heading.
        paragraphs: one text each.
        facts: name -> value.
    """

    title: str
    paragraphs: Sequence[str] = ()
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def html(self) -> str:
        return render("notes.html", paragraphs=self.paragraphs, facts=list(self.facts.items()))
