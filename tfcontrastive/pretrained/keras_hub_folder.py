"""Preset folders of keras_hub, read without it: config.json tells the class, model.weights.h5 holds the variables, or
model.weights.json tells which of several such files do.
"""

from __future__ import annotations

import json
import os
from typing import Any

import h5py
import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.keras_hub_names import as_torch, namer
from tfcontrastive.pretrained.variables import Variables

WEIGHTS = "model.weights.h5"
INDEX = "model.weights.json"
"""Where there are several files: `{"weight_map": {group of variables: its file, or several of them}}`."""

CONVERTER = "image_converter.json"

_MODEL_TYPES = {"DINOV2Backbone": "dinov2", "DINOV3Backbone": "dinov3_vit", "ViTBackbone": "vit"}
_EPSILON = {"dinov2": 1e-6, "dinov3_vit": 1e-5, "vit": 1e-6}


def is_preset(folder: str) -> bool:
    """Whether a folder is one that keras_hub wrote."""
    return bool(_class_of(_json(folder, "config.json")))


def settings_of(folder: str) -> dict[str, Any]:
    """The backbone's settings under transformers' names, {} where the folder is no preset of a transformer."""
    config = _json(folder, "config.json")
    model_type = _MODEL_TYPES.get(_class_of(config))
    if model_type is None:
        return {}
    told = config["config"]
    return {
        "model_type": model_type,
        "num_attention_heads": told.get("num_heads"),
        "layer_norm_eps": told.get("layer_norm_eps", told.get("layer_norm_epsilon", _EPSILON[model_type])),
        "rope_theta": told.get("rope_theta", 100.0),
    }


def normalisation_of(folder: str) -> dict[str, list[float]]:
    """How a preset's images are normalised, under the names of a preprocessor_config.json; {} where it does not tell.

    Its converter gives `255 pixels * scale + offset`, which is `(pixels - mean) / std`.
    """
    converter = _json(folder, CONVERTER)
    if not _class_of(converter):
        return {}
    told = converter["config"]
    scale, offset, _ = np.broadcast_arrays(
        *(np.atleast_1d(usual if told.get(name) is None else told[name]) for name, usual in (("scale", 1), ("offset", 0))),
        np.zeros(3),
    )  # fmt: skip
    std = 1 / (255 * scale.astype("float64"))
    return {"image_mean": (-offset * std).tolist(), "image_std": std.tolist()}


def read_preset(folder: str) -> Variables:
    """The variables of a preset folder.

    Raises:
        InputError: a class that is not known, or no file of weights.
    """
    places = places_of(folder)
    shapes = {}
    for name, (path, place) in places.items():
        with h5py.File(path, "r") as file:
            shapes[name] = as_torch(name, np.broadcast_to(np.float32(0), file[place].shape)).shape

    def read(name: str) -> np.ndarray:
        path, place = places[name]
        with h5py.File(path, "r") as file:
            return as_torch(name, np.asarray(file[place]))

    return Variables("keras_hub", _files(folder)[0], shapes, read)


def places_of(folder: str) -> dict[str, tuple[str, str]]:
    """`{name: (file, place in it)}` of a preset's variables, in the files' order.

    Raises:
        InputError: as `read_preset`.
    """
    config = _json(folder, "config.json")
    name_of = namer(_class_of(config), config["config"])
    found: dict[str, tuple[str, str]] = {}
    for path in _files(folder):
        with h5py.File(path, "r") as file:

            def visit(place: str, item: Any, path: str = path) -> None:
                if isinstance(item, h5py.Dataset):
                    found[name_of(place)] = path, place

            file.visititems(visit)
    return found


def _files(folder: str) -> list[str]:
    """The one file of weights, or all that its index names."""
    path, index = os.path.join(folder, WEIGHTS), os.path.join(folder, INDEX)
    if os.path.isfile(path):
        return [path]
    if not os.path.isfile(index):
        raise InputError(f"the keras_hub preset has no {WEIGHTS} and no {INDEX}")
    with open(index, encoding="utf-8") as text:
        held = json.load(text)
    told = held.get("weight_map") if isinstance(held, dict) else None
    if not isinstance(told, dict) or not told:
        raise InputError(f"{INDEX} is no index of files of weights: it has no weight_map")
    names = sorted({name for part in told.values() for name in (part if isinstance(part, list) else [part])})
    for name in names:
        if os.path.basename(name) != name or not os.path.isfile(os.path.join(folder, name)):
            raise InputError(f"{INDEX} names {name}, which does not lie beside it")
    return [os.path.join(folder, name) for name in names]


def _class_of(config: dict[str, Any]) -> str:
    library, _, name = str(config.get("registered_name")).partition(">")
    return name if library == "keras_hub" and isinstance(config.get("config"), dict) else ""


def _json(folder: str, name: str) -> dict[str, Any]:
    path = os.path.join(folder, name)
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as text:
            held = json.load(text)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}
