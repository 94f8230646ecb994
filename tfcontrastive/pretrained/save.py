"""Our weights as files of other projects, so that their users can take them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive.config import EncoderConfig, InputError, unknown
from tfcontrastive.data.preprocessing import Preprocessing
from tfcontrastive.encoders import ProjectionHead, ResNet
from tfcontrastive.encoders.rebuild import copy_weights
from tfcontrastive.pretrained.keras_hub_save import write_keras_hub
from tfcontrastive.pretrained.safetensors_file import write_safetensors
from tfcontrastive.pretrained.simclr_tf2 import SUPERVISED, encoder_names, projection_names
from tfcontrastive.pretrained.torch_file import write_torch
from tfcontrastive.pretrained.torchvision import WEIGHTS, torchvision_name
from tfcontrastive.pretrained.variables import to_torch
from tfcontrastive.runs.builders import build_network

# What the other project's networks are like: our settings that must be so, and why.
_SIMCLR = {
    "encoder": ("resnet",),
    "norm": ("batch",),
    "pool_padding": ("same",),
    "first_shortcut": ("projection",),
    "feature_grids": (None,),
    "whiten_features": (False,),
    "preprocessing": ("simclr",),
}
_TORCHVISION = {
    "encoder": ("resnet",),
    "norm": ("batch",),
    "resnet_depth": (18, 34, 50, 101, 152),
    "width_multiplier": (1.0,),
    "sk_ratio": (0.0,),
    "se_ratio": (0.0,),
    "pool_padding": ("symmetric",),
    "feature_grids": (None,),
    "whiten_features": (False,),
}


def save(
    base: str | os.PathLike,
    format: str,
    *,
    encoder: keras.Model,
    config: EncoderConfig,
    projection_head: keras.layers.Layer | None = None,
    supervised_head: keras.layers.Layer | None = None,
    facts: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
) -> tuple[list[str], list[str]]:
    """Writes an encoder and its heads under another project's names.

    Args:
        base: the directory to write to; what is there already is not touched.
        format: "simclr_tf2", a checkpoint of google-research/simclr's TensorFlow 2 (`--checkpoint` of its run.py), or
            "torchvision", a state dict as `.pth` and as `.safetensors`, neither of which needs torch to be written; or
            "keras_hub", a preset folder for its `from_preset`, with an image converter (extra `keras_hub`).
        encoder: a ResNet that the other project has too; with "keras_hub" also a ViT.
        config: the encoder's.
        projection_head, supervised_head: written where the format has a place for them.
        facts: with "keras_hub": of published weights, as `Trained.facts`: their licence goes with them.
        image_size: with "keras_hub": height and width of images, where the encoder takes any; default: 224.
        preprocessing: with "keras_hub": how images are decoded, cropped and normalised; default: as `config` says.

    Returns:
        the paths of what was written, and what was left out, a sentence each.

    Raises:
        InputError: an architecture that the other project's networks cannot have, or a file that exists.

    Examples:
        >>> encoder = tfcontrastive.ResNet(18, input_shape=(32, 32, 3))
        >>> config = tfcontrastive.EncoderConfig(resnet_depth=18)
        >>> written, left_out = save("theirs", "simclr_tf2", encoder=encoder, config=config)
    """
    if format not in NAMES:
        raise InputError(f"`format` {unknown(format, NAMES)}")
    if format == "keras_hub":
        written, left_out = write_keras_hub(
            os.fspath(base), encoder, config, dict(facts or {}), image_size, preprocessing
        )
        heads = {"projection": projection_head, "supervised": supervised_head}
        heads_left = [f"the {name} head, for which a backbone has no place" for name, head in heads.items() if head]
        return written, [*left_out, *heads_left]
    needed, write = FORMATS[format]
    network = _network(encoder, config, format, needed)
    return write(os.fspath(base), network, projection_head, supervised_head)


def _network(encoder: keras.Model, config: EncoderConfig, format: str, needed: dict[str, tuple]) -> ResNet:
    """The bare network of an encoder, if it is one of the other project's."""
    if format == "torchvision" and config.resnet_depth < 50:
        needed = {**needed, "first_shortcut": ("identity",)}
    for name, wanted in needed.items():
        value = getattr(config, name)
        if value not in wanted:
            known = " or ".join(map(str, wanted))
            raise InputError(
                f"`format` {format} needs an encoder with {name}={known}, as its networks are: with another, the same "
                f"weights give other features there. Received: {name}={value}."
            )
    network = build_network(config, image_size=encoder.input_shape[1], channels=encoder.input_shape[-1])
    if format == "torchvision" and network.get_layer("initial_conv").kernel_size != (7, 7):
        raise InputError(
            "`format` torchvision needs stem=large, its 7x7 convolution. Received: the stem of small images."
        )
    copy_weights(encoder, network, encoder.name)
    return network


def _write_simclr(
    base: str, network: ResNet, projection_head: keras.layers.Layer | None, supervised_head: keras.layers.Layer | None
) -> tuple[list[str], list[str]]:
    layers, left_out = encoder_names(network), []
    if (
        isinstance(projection_head, ProjectionHead)
        and projection_head.mode == "nonlinear"
        and projection_head.hidden_dim in (None, network.output_shape[-1])  # theirs are as wide as the features
    ):
        layers += projection_names(projection_head)
    elif projection_head is not None:
        left_out.append("the projection head, which is of another kind than simclr's")
    if isinstance(supervised_head, keras.layers.Dense):
        layers.append((supervised_head, SUPERVISED))
    elif supervised_head is not None:
        left_out.append("the supervised head, which is more than one layer")
    tree: dict = {}
    for layer, prefix in layers:
        for weight in layer.weights:
            *places, last = f"{prefix}{weight.name}".split("/")
            node = tree
            for place in places:
                node = node.setdefault(place, {})
            node[last] = tf.Variable(weight)
    path = os.path.join(base, "simclr_tf2")
    if os.path.exists(path):
        raise InputError(f"`export_dir` must not hold simclr_tf2 yet. Received: {path}, which exists.")
    return [_tracked(tree).save(os.path.join(path, "ckpt"))], left_out


def _tracked(tree: dict) -> tf.train.Checkpoint:
    """An object of objects, whose variables a checkpoint finds under the names of the dict."""
    return tf.train.Checkpoint(**{name: _tracked(x) if isinstance(x, dict) else x for name, x in tree.items()})


def _write_torchvision(
    base: str, network: ResNet, projection_head: keras.layers.Layer | None, supervised_head: keras.layers.Layer | None
) -> tuple[list[str], list[str]]:
    layers = [(network.get_layer(name), torchvision_name(name)) for name in network.layer_order]
    left_out = ["the projection head, for which torchvision has no place"] if projection_head is not None else []
    if isinstance(supervised_head, keras.layers.Dense):
        layers.append((supervised_head, "fc"))
    else:
        left_out.append("fc: there is no linear classifier; load_state_dict(..., strict=False) takes the rest")
    values = {f"{name}.{WEIGHTS[weight.name]}": np.ascontiguousarray(to_torch(weight.numpy()))
              for layer, name in layers for weight in layer.weights}  # fmt: skip
    writers: dict[str, Callable] = {"encoder.pth": write_torch, "encoder.safetensors": write_safetensors}
    paths = [os.path.join(base, name) for name in writers]
    for path in paths:
        if os.path.exists(path):
            raise InputError(
                f"`export_dir` must not hold {os.path.basename(path)} yet. Received: {path}, which exists."
            )
    os.makedirs(base, exist_ok=True)
    for path, write in zip(paths, writers.values(), strict=True):
        write(f"{path}.part", values)
        os.replace(f"{path}.part", path)
    return paths, left_out


FORMATS: dict[str, tuple[dict[str, tuple], Callable[..., tuple[list[str], list[str]]]]] = {
    "simclr_tf2": (_SIMCLR, _write_simclr),
    "torchvision": (_TORCHVISION, _write_torchvision),
}
"""What networks are like that name their layers as ours do, and what writes them."""

NAMES = (*FORMATS, "keras_hub")
