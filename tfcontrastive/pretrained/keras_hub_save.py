"""An encoder as a preset folder of keras_hub, for its `from_preset`.

The reader of such folders says which variable of keras_hub's belongs to which of ours, and is run backwards: so what is
written is what is read. keras_hub itself loads the folder before it is given its name, and must give the same features.
"""

from __future__ import annotations

import json
import math
import os
import shutil
from typing import Any

import h5py
import keras
import numpy as np

from tfcontrastive import storage
from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.data.preprocessing import Preprocessing
from tfcontrastive.encoders import ResNet, ViT
from tfcontrastive.encoders.positions import resized_positions, sin_cos_positions
from tfcontrastive.encoders.rebuild import copy_weights
from tfcontrastive.encoders.resnet import DEPTHS
from tfcontrastive.encoders.vit import OPTIONS
from tfcontrastive.pretrained.keras_hub_folder import places_of, read_preset
from tfcontrastive.pretrained.keras_hub_names import as_keras
from tfcontrastive.pretrained.load import recognise_preset
from tfcontrastive.pretrained.mapping import Link
from tfcontrastive.pretrained.model_folder import CARD
from tfcontrastive.pretrained.variables import Variables, to_torch
from tfcontrastive.runs.builders import build_network

FOLDER = "keras_hub"
_ATOL = 1e-3  # of features that one network gives twice, relative to the largest


def write_keras_hub(
    base: str,
    encoder: keras.Model,
    config: EncoderConfig,
    facts: dict[str, Any],
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> tuple[list[str], list[str]]:
    """Writes `base/keras_hub`.

    Args:
        base: the directory to write to.
        encoder: a ResNet or a ViT, alone or on pixels.
        config: the encoder's; its `preprocessing` becomes the folder's image converter.
        facts: of published weights: family, licence, feature; they are kept in the folder.
        image_size: height and width that the converter resizes to, where the encoder takes any; None: 224.
        preprocessing: of the encoder, how its files are decoded too; None: that of its family.

    Returns:
        the paths of what was written, and what keras_hub cannot be told, a sentence each.

    Raises:
        InputError: keras_hub is missing, has no such network, or there is such a folder already.
    """
    path = os.path.join(base, FOLDER)
    if os.path.exists(path):
        raise InputError(f"`export_dir` must not hold {FOLDER} yet. Received: {path}, which exists.")
    rule = preprocessing or Preprocessing.named(config.preprocessing)
    if rule.reverse_channels:
        raise InputError(
            "`format` keras_hub needs images whose channels are in order, as its image converter leaves them. "
            f"Received: preprocessing={config.preprocessing}, which takes blue first."
        )
    channels, size = encoder.input_shape[-1], encoder.input_shape[1]
    if channels != 3:
        raise InputError(f"`format` keras_hub needs an encoder of 3 channels. Received: {channels} channels.")
    network = build_network(config, image_size=size, channels=channels)
    kind, settings = _backbone_of(network, size)
    copy_weights(encoder, network, encoder.name)
    keras_hub = _keras_hub()
    part = f"{path}.{os.getpid()}.tmp"
    try:
        with keras.device("cpu"):
            backbone = getattr(keras_hub.models, kind)(**settings, dtype="float32")
        backbone.save_to_preset(part)
        _converter(keras_hub, kind, rule, size or image_size or 224).save_to_preset(part)
        storage.write(os.path.join(part, CARD), json.dumps(_card(network, config, rule, facts), indent=2) + "\n")
        _fill(part, network)
        _check(keras_hub, part, network)
        os.replace(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    left_out = []
    if rule.crop < 1:
        left_out.append(
            f"the central crop of {rule.crop:g}: keras_hub's converter resizes the whole central square; {CARD} keeps it"
        )
    for name in ("background_color", "intensity_range"):
        if getattr(rule, name) is not None:
            left_out.append(f"{name}={getattr(rule, name)}, by which image files are decoded; {CARD} keeps it")
    if kind in ("ViTBackbone", "DINOV2Backbone"):
        left_out.append(f"other sizes than {size} x {size}: the folder's positions are those of this one")
    return [path], left_out


def _backbone_of(network: keras.Model, size: int | None) -> tuple[str, dict[str, Any]]:
    """The class of keras_hub's that has this network, and its settings."""
    if isinstance(network, ResNet):
        return "ResNetBackbone", _resnet(network)
    if not isinstance(network, ViT):
        raise InputError(
            f"`format` keras_hub needs a ResNet or a ViT. Received: {type(network).__name__}, of which keras_hub has no "
            "network with the same variables."
        )
    told = {**OPTIONS, **network.get_config()}
    if size is None:
        if told["positions"] == "learned":
            raise InputError(
                "`image_size` must be given with `format` keras_hub and a ViT of any size, whose networks are of one. "
                f"Received: none. Its positions were learned at {told['position_grid'][0] * told['patch_size']}."
            )
        raise InputError(
            "`image_size` must be given with `format` keras_hub and a ViT of any size. Received: image_size=None."
        )
    if told["positions"] == "rotary":
        return "DINOV3Backbone", _dinov3(told, size)
    if told["layer_scale"] is not None or told["registers"]:
        return "DINOV2Backbone", _dinov2(told, size)
    return "ViTBackbone", _vit(told, size)


def _needs(settings: dict[str, Any], what: str, **wanted: Any) -> None:
    """Refuses the first setting that keras_hub's network has otherwise."""
    for name, value in wanted.items():
        allowed = value if isinstance(value, tuple) else (value,)
        if settings[name] not in allowed:
            raise InputError(
                f"`format` keras_hub needs {what} with {name}={' or '.join(map(str, allowed))}, as keras_hub's is. "
                f"Received: {name}={settings[name]}."
            )


def _resnet(network: ResNet) -> dict[str, Any]:
    told = network.get_config()
    bottleneck, blocks = DEPTHS[told["depth"]]
    _needs(told, "a ResNet", sk_ratio=0.0, se_ratio=0.0, norm="batch", pool_padding="symmetric")
    _needs(told, "a ResNet", feature_grids=None, whiten_features=False)
    if not bottleneck:
        _needs(told, f"a ResNet-{told['depth']}", first_shortcut="identity")
    if network.get_layer("initial_conv").kernel_size != (7, 7):
        raise InputError(
            "`format` keras_hub needs a ResNet with stem=large, its 7x7 convolution. Received: the stem of small images."
        )
    _needs(told, "a ResNet", width_multiplier=1.0)
    return {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [7],
        "stackwise_num_filters": [64, 128, 256, 512],
        "stackwise_num_blocks": list(blocks),
        "stackwise_num_strides": [1, 2, 2, 2],
        "block_type": "bottleneck_block" if bottleneck else "basic_block",
        "image_shape": tuple(network.input_shape[1:]),
    }


def _sizes(told: dict[str, Any], size: int) -> dict[str, Any]:
    """What all of keras_hub's transformers have under the same names."""
    return {
        "image_shape": (size, size, 3),
        "patch_size": told["patch_size"],
        "num_layers": told["depth"],
        "num_heads": told["num_heads"],
        "hidden_dim": told["width"],
    }


def _vit(told: dict[str, Any], size: int) -> dict[str, Any]:
    pool = "token" if told["class_token"] else "mean"
    _needs(
        told, "a ViT", pre_norm=False, qkv_bias="all", activation="gelu", pool=pool, projection=None, registers=0
    )  # fmt: skip
    return {
        **_sizes(told, size),
        "mlp_dim": told["mlp_width"] or 4 * told["width"],
        "layer_norm_epsilon": told["epsilon"],
        "use_class_token": told["class_token"],
        "use_patch_bias": told["patch_bias"],
    }


def _common(told: dict[str, Any], size: int) -> dict[str, Any]:
    """What DINOv2's and DINOv3's classes have under the same names."""
    return {
        **_sizes(told, size),
        "num_register_tokens": told["registers"],
    }


def _dinov2(told: dict[str, Any], size: int) -> dict[str, Any]:
    what = "a ViT with layer scales or registers"
    _needs(
        told, what, class_token=True, patch_bias=True, pre_norm=False, qkv_bias="all", activation=("gelu", "swiglu"),
        pool="token", projection=None, epsilon=1e-6,
    )  # fmt: skip
    if told["layer_scale"] is None:
        raise InputError(
            f"`format` keras_hub needs {what} with both, as DINOv2's. Received: registers={told['registers']}, no scales."
        )
    hidden, gated = told["mlp_width"] or 4 * told["width"], told["activation"] == "swiglu"
    if gated and hidden % 8:
        raise InputError(
            f"`format` keras_hub needs a gated ViT whose mlp_width is a multiple of 8. Received: mlp_width={hidden}."
        )
    return {
        **_common(told, size),
        "intermediate_dim": hidden * 3 // 2 if gated else hidden,
        "use_swiglu_ffn": gated,
        "position_embedding_shape": (size, size, 3),
    }


def _dinov3(told: dict[str, Any], size: int) -> dict[str, Any]:
    what = "a ViT with rotary positions"
    _needs(
        told, what, class_token=True, patch_bias=True, pre_norm=False, activation="gelu", pool="token", projection=None
    )
    if told["layer_scale"] is None:
        raise InputError(f"`format` keras_hub needs {what} and layer scales, as DINOv3's. Received: layer_scale=None.")
    biased = {"all": (True, True, True), "query_value": (True, False, True), "none": (False, False, False)}
    query, key, value = biased[told["qkv_bias"]]
    return {
        **_common(told, size),
        "intermediate_dim": told["mlp_width"] or 4 * told["width"],
        "layer_norm_eps": told["epsilon"],
        "use_query_bias": query,
        "use_key_bias": key,
        "use_value_bias": value,
    }


def _converter(keras_hub: Any, kind: str, rule: Preprocessing, size: int) -> Any:
    """The image converter: `255 pixels * scale + offset` is `(pixels - mean) / std`."""
    mean, std = (np.broadcast_to(np.asarray(value, "float64"), 3) for value in (rule.mean, rule.std))
    return getattr(keras_hub.layers, kind.replace("Backbone", "ImageConverter"))(
        image_size=(size, size),
        scale=(1 / (255 * std)).tolist(),
        offset=(-mean / std).tolist(),
        interpolation="bicubic" if "bicubic" in rule.resize else "bilinear",
        antialias=rule.resize.startswith("antialiased"),
        crop_to_aspect_ratio=True,
    )


def _card(network: keras.Model, config: EncoderConfig, rule: Preprocessing, facts: dict[str, Any]) -> dict[str, Any]:
    """What is known of the weights, and no field of keras_hub's holds."""
    return {
        "name": network.name,
        "embedding_dim": network.output_shape[-1],
        "parameters": int(network.count_params()),
        "preprocessing": {"name": config.preprocessing, "rule": _plain(rule)},
        "imported": facts or None,
    }


def _plain(rule: Preprocessing) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(rule).items()}


def _fill(folder: str, network: keras.Model) -> None:
    """Puts a network's weights where the reader finds them."""
    variables = read_preset(folder)
    found, places = recognise_preset(variables), places_of(folder)
    values = {name: np.zeros(shape, np.float32) for name, shape in variables.shapes.items()}
    own = {variable.path: np.asarray(variable) for variable in network.variables}
    for link in found.links:
        value = _value(own, network, link, found.encoder)
        _write_backwards(link, value, values, variables)
    for name in values:
        if name.startswith("embeddings.interpolated."):  # at its own size the table is as it is
            values[name] = values["embeddings.position_embeddings"]
    for name, (path, place) in places.items():
        with h5py.File(path, "r+") as file:
            file[place][...] = as_keras(name, values[name], file[place].shape)


def _value(own: dict[str, np.ndarray], network: keras.Model, link: Link, theirs: keras.Model) -> np.ndarray:
    """Our value for a variable of the network that the folder is read as, which has a table of positions at its size."""
    path, shape = link.variable.path, tuple(link.variable.shape)
    if path == "tokens/positions":
        side = math.isqrt(shape[0])
        if path not in own:
            return np.asarray(sin_cos_positions(side, side, shape[1]))
        told = {**OPTIONS, **network.get_config()}
        return np.asarray(resized_positions(own[path], told["position_grid"], side, side, told["interpolation"]))
    if path not in own or own[path].shape != shape:
        held = own[path].shape if path in own else "none"
        raise InputError(f"`format` keras_hub needs {path} of the shape {shape} in this network. Received: {held}.")
    return own[path]


def _write_backwards(link: Link, value: np.ndarray, values: dict[str, np.ndarray], variables: Variables) -> None:
    """Sets the file's variables that a link takes its value from, in torch's layout."""
    shapes = variables.shapes
    if link.variable.path == "tokens/positions":
        table = values[link.source].reshape(-1, value.shape[-1])
        table[len(table) - len(value) :] = value  # a place of the class token stays zero: the token has it in itself
        values[link.source] = table.reshape(shapes[link.source])
    elif link.variable.path.startswith("tokens/"):
        values[link.source] = value.reshape(shapes[link.source])
    elif link.also:
        for name, part in zip(link.sources, np.split(to_torch(value), len(link.sources)), strict=True):
            values[name] = part.reshape(shapes[name])
    else:
        values[link.source] = to_torch(value).reshape(shapes[link.source])


def _check(keras_hub: Any, folder: str, network: keras.Model) -> None:
    """keras_hub gives the features of the network from the folder."""
    backbone = keras_hub.models.Backbone.from_preset(folder, dtype="float32")
    height, width, channels = (side or 64 for side in network.input_shape[1:])
    images = np.random.RandomState(0).rand(2, height, width, channels).astype("float32")
    given = backbone.input
    theirs = np.asarray(backbone(dict.fromkeys(given, images) if isinstance(given, dict) else images))
    if isinstance(network, ViT):
        theirs = theirs[:, 0] if {**OPTIONS, **network.get_config()}["class_token"] else theirs.mean(axis=1)
    else:
        theirs = theirs.mean(axis=(1, 2))
    ours = np.asarray(network(images, training=False))
    apart = float(np.abs(theirs - ours).max() / max(np.abs(ours).max(), 1e-6))
    if not apart < _ATOL:
        raise InputError(
            f"`format` keras_hub needs a release of keras_hub whose {type(backbone).__name__} is laid out as that of 0.32. "
            f"Received: {keras_hub.__version__}, with features that are {apart:.2g} apart: nothing was written."
        )


def _keras_hub() -> Any:
    try:
        import keras_hub
    except ImportError as error:
        raise InputError(
            f"`format` keras_hub needs the package {error.name}, which is not installed. "
            "Install it with: pip install 'tfcontrastive[keras_hub]'"
        ) from error
    return keras_hub
