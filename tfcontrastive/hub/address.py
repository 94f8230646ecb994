"""Names of models on a hub."""

from __future__ import annotations

import dataclasses
import re

from tfcontrastive.config import InputError

FORMS = {"hf": "hf://user/name", "kaggle": "kaggle://user/model/framework/variation"}
"""How a model is named on each hub; a version may follow, to load: `hf://user/name@revision`, `kaggle://.../variation/3`."""

_PART = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?|[A-Za-z0-9]")
_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,48}[a-z0-9])?")
FRAMEWORKS = {"saved_model": "tensorFlow2", "keras_hub": "keras"}
"""Kaggle's names of what loads a kind of folder."""
_KNOWN = ("tensorFlow2", "keras", "tfLite", "pyTorch", "onnx", "transformers", "jax", "flax", "other")


@dataclasses.dataclass(frozen=True)
class HubAddress:
    """One model on a hub.

    Attributes:
        hub: "hf" or "kaggle".
        name: as the hub's client takes it: `user/name`, or `user/model/framework/variation`.
        version: a revision of Hugging Face, a number of Kaggle; None: the newest.

    Examples:
        >>> HubAddress.parse("hf://ada/flowers@v1")
        HubAddress(hub='hf', name='ada/flowers', version='v1')
        >>> print(HubAddress.parse("kaggle://ada/flowers/keras/small"))
        kaggle://ada/flowers/keras/small
    """

    hub: str
    name: str
    version: str | None = None

    @staticmethod
    def parse(text: str, argument: str = "path") -> HubAddress:
        """Reads `hf://user/name[@revision]` or `kaggle://user/model/framework/variation[/version]`.

        Args:
            text: it.
            argument: that it was given as, for the error.

        Raises:
            InputError: it is of another form.
        """
        hub, separator, rest = text.partition("://")
        if not separator or hub not in FORMS:
            known = " or ".join(FORMS.values())
            raise InputError(f"`{argument}` must be {known}. Received: {argument}={text!r}.")
        name, version = _of_hugging_face(rest) if hub == "hf" else _of_kaggle(rest)
        if name is None:
            raise InputError(f"`{argument}` must be {FORMS[hub]}{_RULES[hub]}. Received: {argument}={text!r}.")
        return HubAddress(hub, name, version)

    @property
    def url(self) -> str:
        """Its page."""
        return {"hf": "https://huggingface.co/", "kaggle": "https://www.kaggle.com/models/"}[self.hub] + self.name

    def __str__(self) -> str:
        mark = "" if self.version is None else {"hf": "@", "kaggle": "/"}[self.hub] + self.version
        return f"{self.hub}://{self.name}{mark}"


_RULES = {
    "hf": ", of letters, digits and single - . _ between them",
    "kaggle": f", each in lower case letters, digits and -, and a framework of {', '.join(_KNOWN)}",
}


def _of_hugging_face(rest: str) -> tuple[str | None, str | None]:
    name, mark, version = rest.partition("@")
    parts = name.split("/")
    good = len(parts) == 2 and all(_PART.fullmatch(part) for part in parts)
    if not good or "--" in name or ".." in name or name.endswith(".git") or (mark and not version):
        return None, None
    return name, version or None


def _of_kaggle(rest: str) -> tuple[str | None, str | None]:
    parts = rest.split("/")
    version = parts.pop() if len(parts) == 5 else None
    if version is not None and not (version.isascii() and version.isdecimal() and int(version) > 0):
        return None, None
    if len(parts) != 4 or not all(_SLUG.fullmatch(part) for part in (parts[0], parts[1], parts[3])):
        return None, None
    return ("/".join(parts), version) if parts[2] in _KNOWN else (None, None)
