"""Where keras_hub's backbones keep their variables, under the names that the same networks have in torch's libraries.

A file of Keras counts the layers of a class: layers/conv2d_7/vars/0. DINOv2, DINOv3 and ViT are given transformers' names,
ResNet torchvision's, so that one reader knows both.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.pretrained.variables import to_tensorflow, to_torch

_DENSE = {"vars/0": "weight", "vars/1": "bias"}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var")

_EMBEDDINGS = {
    "vars/0": "embeddings.cls_token",
    "vars/1": "embeddings.mask_token",
    "vars/2": "embeddings.register_tokens",
    "vars/3": "embeddings.position_embeddings",
}
# Of the embedding and of a block, by class: {place in the file: name}; places end in the number of a variable.
_PARTS: dict[str, dict[str, str]] = {
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
    "ViTBackbone": {
        "layer_norm_1": "layernorm_before",
        "layer_norm_2": "layernorm_after",
        "mha/query_dense": "attention.attention.query",
        "mha/key_dense": "attention.attention.key",
        "mha/value_dense": "attention.attention.value",
        "mha/output_dense": "attention.output.dense",
        "mlp/dense_1": "intermediate.dense",
        "mlp/dense_2": "output.dense",
    },
}
_NAMES = {"DINOV2Backbone": ("layernorm", "encoder.layer"), "DINOV3Backbone": ("norm", "layer")}

KINDS = (*_PARTS, "ResNetBackbone")
"""The classes whose variables are known."""


def namer(class_name: str, settings: dict[str, Any]) -> Callable[[str], str]:
    """What gives a variable's name from its place in a file.

    Args:
        class_name: of the backbone.
        settings: its config.

    Raises:
        InputError: a class, or a member of it, that is not known.
    """
    if class_name not in KINDS:
        raise InputError(
            f"the keras_hub preset's class {unknown(class_name, KINDS)} --encoder=keras_hub/FOLDER takes others"
        )
    if class_name == "ResNetBackbone":
        return _counted(_layers_of_resnet(settings)).__getitem__
    if class_name == "ViTBackbone":
        return _of_vit
    registers = bool(settings.get("num_register_tokens"))
    return lambda place: _of_dino(place, class_name, registers)


def as_torch(name: str, value: np.ndarray) -> np.ndarray:
    """A Keras variable in torch's layout; heads are an axis of their own in some of keras_hub's classes."""
    if not name.endswith((".weight", ".bias")):
        return value
    if name.endswith(".bias"):
        return value.reshape(-1)
    if value.ndim == 3:  # [D, heads, head] of queries, keys and values; [heads, head, D] of the output
        inner = "output.dense" in name
        value = value.reshape(-1, value.shape[-1]) if inner else value.reshape(value.shape[0], -1)
    return to_torch(value)


def as_keras(name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `as_torch`, for a variable of a shape."""
    return (to_tensorflow(value) if name.endswith(".weight") else value).reshape(shape)


def _layers_of_resnet(settings: dict[str, Any]) -> list[tuple[str, str]]:
    """(convolution, batch norm) of torchvision's names, each list in the order of keras_hub's layers: the shortcut of a
    block stands before its last convolution."""
    kind = settings["block_type"]
    if kind not in ("basic_block", "bottleneck_block") or settings["use_pre_activation"]:
        raise InputError(
            f"the keras_hub preset's ResNet must have basic or bottleneck blocks with the activation last; it has "
            f"block_type={kind}, use_pre_activation={settings['use_pre_activation']}"
        )
    count = 2 if kind == "basic_block" else 3
    layers = [("conv1", "bn1")]
    for stack, blocks in enumerate(settings["stackwise_num_blocks"]):
        for block in range(blocks):
            home = f"layer{stack + 1}.{block}"
            parts = [(f"{home}.conv{i}", f"{home}.bn{i}") for i in range(1, count + 1)]
            if block == 0 and (stack > 0 or count == 3):
                parts.insert(count - 1, (f"{home}.downsample.0", f"{home}.downsample.1"))
            layers += parts
    return layers


def _counted(layers: list[tuple[str, str]]) -> dict[str, str]:
    names = {}
    for index, (conv, norm) in enumerate(layers):
        number = f"_{index}" if index else ""
        names[f"layers/conv2d{number}/vars/0"] = f"{conv}.weight"
        for variable, word in enumerate(_BATCH_NORM):
            names[f"layers/batch_normalization{number}/vars/{variable}"] = f"{norm}.{word}"
    return names


def _of_vit(place: str) -> str:
    """transformers' name of a variable, such as layers/vi_t_encoder/encoder_layers/vi_t_encoder_block/mlp/dense_1/vars/0."""
    home, _, last = place.removeprefix("layers/").rpartition("/vars/")
    word = _DENSE.get(f"vars/{last}", last)
    if match := re.fullmatch(r"vi_t_encoder/encoder_layers/vi_t_encoder_block(?:_(\d+))?/(.+)", home):
        return f"encoder.layer.{match[1] or 0}.{_PARTS['ViTBackbone'].get(match[2], match[2])}.{word}"
    return {
        "vi_t_encoder/layer_norm": f"layernorm.{word}",
        "vi_t_patching_and_embedding": "embeddings.cls_token",
        "vi_t_patching_and_embedding/patch_embedding": f"embeddings.patch_embeddings.projection.{word}",
        "vi_t_patching_and_embedding/position_embedding": "embeddings.position_embeddings",
    }.get(home, place)


def _of_dino(place: str, class_name: str, registers: bool) -> str:
    """transformers' name of a variable, such as layers/dinov2_encoder/layers/dinov2_layer_1/norm1/vars/0."""
    norm, blocks = _NAMES[class_name]
    parts = _PARTS[class_name]
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
