"""Under which terms weights are handed on."""

from __future__ import annotations

import dataclasses
import re

from tfcontrastive.config import InputError

KNOWN = {
    "apache-2.0": "Apache 2.0",
    "mit": "MIT",
    "bsd-3-clause": "BSD-3-Clause",
    "cc0-1.0": "CC0: Public Domain",
    "cc-by-4.0": "Attribution 4.0 International (CC BY 4.0)",
    "cc-by-sa-4.0": "CC BY-SA 4.0",
    "cc-by-nc-4.0": "Attribution-NonCommercial 4.0 International (CC BY-NC 4.0)",
    "cc-by-nc-sa-4.0": "CC BY-NC-SA 4.0",
    "gpl-3.0": "GPL 3",
}
"""Hugging Face's name of a licence, and Kaggle's."""


@dataclasses.dataclass(frozen=True)
class Licence:
    """A licence of weights.

    Attributes:
        name: one of `KNOWN`, or "other".
        text: as its owner says it, such as "CC-BY-NC-4.0, not for commercial use".
    """

    name: str
    text: str

    @property
    def front_matter(self) -> str:
        """Lines for the head of a README of Hugging Face."""
        if self.name != "other":
            return f"license: {self.name}\n"
        slug = re.sub(r"[^a-z0-9]+", "-", self.text.partition(",")[0].lower()).strip("-")
        return f"license: other\nlicense_name: {slug}\n"

    @property
    def of_kaggle(self) -> str | None:
        """Kaggle's name of it, None where it has none."""
        return KNOWN.get(self.name)


def licence_of(asked: str | None, told: str | None) -> Licence:
    """The licence to hand weights on under.

    Args:
        asked: what the user says: one of `KNOWN`, or "other:NAME"; None: nothing.
        told: what whoever published the weights said; None: they are the user's own.

    Raises:
        InputError: neither says anything, a name that is not known, or another one than the publisher's.

    Examples:
        >>> licence_of(None, "CC-BY-NC-4.0, not for commercial use").name
        'cc-by-nc-4.0'
    """
    if told:
        licence = Licence(_named(told), told)
        if asked is not None and _asked(asked).name != licence.name:
            raise InputError(
                f"`licence` must be that of the weights that this model was made from, {told}. Received: licence={asked!r}."
            )
        return licence
    if asked is None:
        raise InputError(
            f"`licence` must be given for weights of your own: {', '.join(KNOWN)}, or other:NAME. Received: none."
        )
    return _asked(asked)


def _asked(asked: str) -> Licence:
    kind, _, name = asked.partition(":")
    if kind == "other" and name.strip():
        return Licence("other", name.strip())
    if asked.lower() not in KNOWN:
        raise InputError(f"`licence` must be one of {', '.join(KNOWN)}, or other:NAME. Received: licence={asked!r}.")
    return Licence(asked.lower(), asked)


def _named(told: str) -> str:
    """The name of a licence that is told in words."""
    start = told.lower()
    fits = [name for name in KNOWN if re.match(rf"{re.escape(name)}(?![\w.-])", start)]
    return fits[0] if fits else "other"
