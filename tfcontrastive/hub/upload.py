"""What would be uploaded: the files of one model, its card and its licence."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from tfcontrastive.config import InputError
from tfcontrastive.hub.licence import Licence, licence_of
from tfcontrastive.hub.readme import readme

CARD = "model_card.json"
README = "README.md"
_LEFT_OUT = (".tmp", ".part", ".pyc")


@dataclasses.dataclass(frozen=True)
class Upload:
    """A model, ready to be uploaded.

    Attributes:
        kind: "saved_model" or "keras_hub".
        folder: the directory that holds it.
        files: `{path in the folder: bytes}` of all of them, the README too.
        readme: the text of README.md as it will be uploaded.
        licence: of the weights.
    """

    kind: str
    folder: str
    files: Mapping[str, int]
    readme: str
    licence: Licence

    @property
    def total(self) -> int:
        """Bytes of all files."""
        return sum(self.files.values())

    def __str__(self) -> str:
        width = max(map(len, self.files))
        rows = [f"  {name:<{width}}  {size:>13,} bytes" for name, size in self.files.items()]
        what = {"saved_model": "a SavedModel", "keras_hub": "a preset of keras_hub"}[self.kind]
        return "\n".join([f"{self.folder}: {what}, licence: {self.licence.text}", *rows, f"  {self.total:,} bytes"])


def upload_of(path: str | os.PathLike, licence: str | None = None) -> Upload:
    """What lies at a path, with its card made whole.

    Args:
        path: an export, the base of its versions (the highest is taken), or a preset folder that `export
            --format=keras_hub` wrote.
        licence: see `licence_of`; needed for weights of your own.

    Raises:
        InputError: it is no such directory, or its licence is not known or another one.
    """
    path = os.fspath(path)
    folder, kind = _model_in(path)
    card = _card(folder)
    terms = licence_of(licence, (card.get("imported") or {}).get("licence"))
    text = readme(kind, card, _text(os.path.join(folder, README)), terms)
    files = {name: os.path.getsize(os.path.join(folder, name)) for name in _names(folder)}
    files[README] = len(text.encode())
    return Upload(kind, folder, dict(sorted(files.items())), text, terms)


def _model_in(path: str) -> tuple[str, str]:
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        return path, "saved_model"
    if os.path.isfile(os.path.join(path, "config.json")) and os.path.isfile(os.path.join(path, CARD)):
        return path, "keras_hub"
    names = os.listdir(path) if os.path.isdir(path) else []
    versions = sorted((name for name in names if name.isascii() and name.isdecimal()), key=int)
    if versions and os.path.isfile(os.path.join(path, versions[-1], "saved_model.pb")):
        return os.path.join(path, versions[-1]), "saved_model"
    what = "" if os.path.isdir(path) else ", and there is no such directory"
    if "saved_model" in names:
        what = f", which is a run: push {os.path.join(path, 'saved_model')}"
    raise InputError(
        "`path` must be a SavedModel that this package exported, the base of its versions, or a folder of `export "
        f"--format=keras_hub`, on a disk. Received: {path!r}{what}."
    )


def _card(folder: str) -> dict[str, Any]:
    try:
        card = json.loads(_text(os.path.join(folder, CARD)) or "null")
    except ValueError:
        card = None
    if not isinstance(card, dict) or not isinstance(card.get("preprocessing"), dict):
        raise InputError(f"`path` must hold this package's {CARD}. Received: {folder!r}, without one.")
    return card


def _text(path: str) -> str:
    if not os.path.isfile(path):
        return ""
    with open(path, encoding="utf-8") as file:
        return file.read()


def _names(folder: str) -> list[str]:
    """The files below a folder, but for hidden ones and what was left half written."""
    found = []
    for home, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
        found += [
            os.path.relpath(os.path.join(home, name), folder)
            for name in names
            if not name.startswith(".") and not name.endswith(_LEFT_OUT)
        ]
    return found
