"""Preset folders of keras_hub, read without it: config.json tells the class, model.weights.h5 holds the variables, or
model.weights.json tells which of several such files do.

keras_hub's DINOv2 and DINOv3 are transformers' networks, and their variables are given under transformers' names and in its
layout, so that one reader knows both.
"""

from __future__ import annotations

import json
import os
import re
from typing import Any

import h5py
import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.pretrained.variables import Variables, to_torch

WEIGHTS = "model.weights.h5"
INDEX = "model.weights.json"
"""Where there are several files: `{"weight_map": {group of variables: its file, or several of them}}`."""

_DENSE = {"vars/0": "weight", "vars/1": "bias"}

# Of the embedding and of a block, by class: {place in the file: name}; places end in the number of a variable.
_EMBEDDINGS = {
    "vars/0": "embeddings.cls_token",
    "vars/1": "embeddings.mask_token",
    "vars/2": "embeddings.register_tokens",
    "vars/3": "embeddings.position_embeddings",
}
_KINDS: dict[str, dict[str, str]] = {
    "DINOV2Backbone": {
        "patch_embeddings/projection": "embeddings.patch_embeddings.projection",
        "attention/attention/query_dense": "attention.attention.query",
        "attention/attention/key_dense": "attention.attention.key",
        "attention/attention/value_dense": "attention.attention.value",
        "attention/attention/output_dense": "attention.output.dense",
    },
    "DINOV3Backbone": {
        "patch_embeddings/projection": "embeddings.patch_embeddings",
        "attention/query_dense": "attention.q_proj",
        "attention/key_dense": "attention.k_proj",
        "attention/value_dense": "attention.v_proj",
        "attention/output_dense": "attention.o_proj",
    },
}
_NAMES = {"DINOV2Backbone": ("layernorm", "encoder.layer"), "DINOV3Backbone": ("norm", "layer")}


def is_preset(folder: str) -> bool:
    """Whether a folder is one that keras_hub wrote."""
    return bool(_class_of(_config(folder)))


def settings_of(folder: str) -> dict[str, Any]:
    """The backbone's settings under transformers' names, {} where the folder is no preset."""
    config = _config(folder)
    if _class_of(config) not in _KINDS:
        return {}
    told = config["config"]
    model_type = {"DINOV2Backbone": "dinov2", "DINOV3Backbone": "dinov3_vit"}[_class_of(config)]
    return {
        "model_type": model_type,
        "num_attention_heads": told.get("num_heads"),
        "layer_norm_eps": told.get("layer_norm_eps", 1e-6 if model_type == "dinov2" else 1e-5),
        "rope_theta": told.get("rope_theta", 100.0),
    }


def read_preset(folder: str) -> Variables:
    """The variables of a preset folder.

    Raises:
        InputError: a class that is not known, or no file of weights.
    """
    config = _config(folder)
    class_name = _class_of(config)
    if class_name not in _KINDS:
        raise InputError(
            f"the keras_hub preset's class {unknown(class_name, _KINDS)} --encoder=keras_hub/FOLDER takes others"
        )
    files = _files(folder)
    registers = bool(config["config"].get("num_register_tokens"))
    places: dict[str, tuple[str, str]] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        with h5py.File(path, "r") as file:

            def visit(place: str, item: Any, path: str = path) -> None:
                if not isinstance(item, h5py.Dataset):
                    return
                name = _name(place, class_name, registers)
                places[name] = path, place
                shapes[name] = _as_torch(name, np.broadcast_to(np.float32(0), item.shape)).shape

            file.visititems(visit)

    def read(name: str) -> np.ndarray:
        path, place = places[name]
        with h5py.File(path, "r") as file:
            return _as_torch(name, np.asarray(file[place]))

    return Variables("keras_hub", files[0], shapes, read)


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


def _name(place: str, class_name: str, registers: bool) -> str:
    """transformers' name of a variable, such as layers/dinov2_encoder/layers/dinov2_layer_1/norm1/vars/0."""
    norm, blocks = _NAMES[class_name]
    parts = _KINDS[class_name]
    home, _, last = place.removeprefix("layers/").rpartition("/vars/")
    word = _DENSE.get(f"vars/{last}", last)
    if match := re.fullmatch(r"dinov\d_encoder/layers/dinov\d_layer(?:_(\d+))?/(.+)", home):
        part = match[2]
        if part.startswith("layer_scale"):
            word = "lambda1"
        return f"{blocks}.{match[1] or 0}.{parts.get(part, part.replace('/', '.'))}.{word}"
    if home == "layer_normalization":
        return f"{norm}.{word}"
    if re.fullmatch(r"dinov\d_embedding", home):
        order = list(_EMBEDDINGS.values())
        if not registers:
            order.remove("embeddings.register_tokens")
        if class_name == "DINOV3Backbone":
            order.remove("embeddings.position_embeddings")
        return order[int(last)] if int(last) < len(order) else f"embeddings.interpolated.{last}"
    if match := re.fullmatch(r"dinov\d_embedding/(.+)", home):
        return f"{parts.get(match[1], match[1])}.{word}"
    return place


def _as_torch(name: str, value: np.ndarray) -> np.ndarray:
    """A Keras variable in torch's layout; heads are an axis of their own in keras_hub's DINOv2."""
    if not name.endswith((".weight", ".bias")):
        return value
    if name.endswith(".bias"):
        return value.reshape(-1)
    if value.ndim == 3:  # [D, heads, head] of queries, keys and values; [heads, head, D] of the output
        inner = "output.dense" in name
        value = value.reshape(-1, value.shape[-1]) if inner else value.reshape(value.shape[0], -1)
    return to_torch(value)


def _class_of(config: dict[str, Any]) -> str:
    library, _, name = str(config.get("registered_name")).partition(">")
    return name if library == "keras_hub" and isinstance(config.get("config"), dict) else ""


def _config(folder: str) -> dict[str, Any]:
    path = os.path.join(folder, "config.json")
    if not os.path.isfile(path):
        return {}
    try:
        with open(path, encoding="utf-8") as text:
            held = json.load(text)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}
