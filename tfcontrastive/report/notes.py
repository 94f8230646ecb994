"""Words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from tfcontrastive.report.markup import paragraph, text


@dataclasses.dataclass(frozen=True)
class Notes:
    """Paragraphs, then named facts such as the configuration and the command that was run."""

    title: str
    paragraphs: Sequence[str] = ()
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def html(self) -> str:
        facts = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in self.facts.items())
        return "".join(map(paragraph, self.paragraphs)) + (f"<dl>{facts}</dl>" if facts else "")
