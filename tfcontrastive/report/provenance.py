"""Where a page comes from."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping

import tfcontrastive


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What made a page, told at its end, beside the version of this package and the date.

    Args:
        command: the command line.
        seed: of the run.
        data: the images, as `--dataset` takes them.
        facts: what else is to be known: name and value.
    """

    command: str = ""
    seed: int | None = None
    data: str = ""
    facts: Mapping[str, object] = dataclasses.field(default_factory=dict)

    def lines(self) -> list[tuple[str, object]]:
        """Names and values, those that are known."""
        known = {"Command": self.command or None, "Data": self.data or None, "Seed": self.seed, **self.facts}
        known |= {"Made by": f"tfcontrastive {tfcontrastive.__version__}"}
        known |= {"Date": f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"}
        return [(name, value) for name, value in known.items() if value is not None]
