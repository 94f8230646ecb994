"""Folders of a model hub: one file of weights, or several with an index of which variable lies where."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.variables import Variables

WEIGHTS = (
    "model.safetensors",
    "open_clip_model.safetensors",
    "pytorch_model.bin",
    "open_clip_pytorch_model.bin",
)
"""As transformers, timm and OpenCLIP name them; the same with `.index.json` where there are several files."""

CARD = "model_card.json"
"""Where what this package writes keeps the facts that travel with it."""

_INDEX = ".index.json"


def weights_in(folder: str) -> str | None:
    """The file of weights in a folder, or its index; None where there is none."""
    for name in WEIGHTS:
        for path in (os.path.join(folder, name), os.path.join(folder, name + _INDEX)):
            if os.path.isfile(path):
                return path
    return None


def is_index(path: str) -> bool:
    """Whether a file is an index of files of weights."""
    return path.endswith(_INDEX)


def read_index(path: str, read_file: Callable[[str], Variables]) -> Variables:
    """The variables of all files of an index.

    Args:
        path: of the index, `{"weight_map": {variable: file}}`.
        read_file: reads one file.

    Raises:
        InputError: it is no index, a file is missing or outside its folder, or does not hold what the index says.
    """
    with open(path, encoding="utf-8") as text:
        held = json.load(text)
    places = held.get("weight_map") if isinstance(held, dict) else None
    if not isinstance(places, dict) or not places or not all(isinstance(name, str) for name in places.values()):
        raise InputError("it is no index of files of weights: it has no weight_map")
    files = {}
    for name in sorted(set(places.values())):
        part = os.path.join(os.path.dirname(path), name)
        if os.path.basename(name) != name or not os.path.isfile(part):
            raise InputError(f"the index names {name}, which does not lie beside it")
        files[name] = read_file(part)
    for variable, name in places.items():
        if variable not in files[name].shapes:
            raise InputError(f"the index says that {variable} lies in {name}, which does not hold it")
    shapes = {variable: files[name].shapes[variable] for variable, name in places.items()}

    def read(variable: str) -> np.ndarray:
        return files[places[variable]].read(variable)

    kind = next(iter(files.values())).kind
    return Variables(kind, path, shapes, read)
