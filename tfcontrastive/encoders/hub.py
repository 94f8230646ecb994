"""Presets of keras_hub: their weights, their own normalisation, and the feature that their family means."""

from __future__ import annotations

import importlib
import json
import math
import os
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import layers

from tfcontrastive.config import InputError
from tfcontrastive.data.preprocessing import PREPROCESSING, Normalize, Preprocessing

_FAMILIES = {
    "DINOV2Backbone": "imagenet",
    "DINOV3Backbone": "imagenet",
    "DeiTBackbone": "imagenet",
    "ViTBackbone": "symmetric",
}
"""Of families whose presets may lack their normalisation: the published one."""

_RESAMPLING = {2: "antialiased bilinear", 3: "antialiased bicubic"}  # of Pillow, by its numbers


@keras.saving.register_keras_serializable("tfcontrastive")
class FirstToken(layers.Layer):
    """The first of a sequence's tokens, `[B, N, F]` -> `[B, F]`."""

    def call(self, tokens):
        return tokens[:, 0]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2])

    def get_config(self):  # or Keras would not save one that was made from a config
        return super().get_config()


def hub_encoder(
    preset: str, input_shape: tuple = (None, None, 3), *, load_weights: bool = True, **options: Any
) -> keras.Model:
    """The vision backbone of a preset as an encoder of images in [0, 1].

    The feature is the class token, where the network has one; else the mean over the positions of a map or a sequence, or
    the network's own vector. The encoder's attribute `preprocessing` tells how the preset crops and resizes images; its
    normalisation is the first layer.

    Args:
        preset: a name of keras_hub's, a handle (`hf://...`, `kaggle://...`), or a directory: a preset that keras_hub wrote,
            or a model of Hugging Face transformers.
        input_shape: (height, width, channels); without height and width, the preset's own shape.
        load_weights: False gives the architecture alone, for images in [0, 1] without normalisation.
        **options: of keras_hub's `Backbone.from_preset`.

    Returns:
        a `keras.Model`, `[B, H, W, C]` -> float32 `[B, F]`.

    Raises:
        InputError: keras_hub is not installed, there is no such preset, it cannot take these images, it gives anything
            else than one tensor, or its normalisation is not known.

    Examples:
        >>> hub_encoder("dinov2_small", (224, 224, 3)).output_shape
        (None, 384)
    """
    keras_hub = _keras_hub(preset)
    if input_shape[0] is not None:
        options["image_shape"] = tuple(input_shape)
    policy = keras.config.dtype_policy().name
    try:
        backbone = keras_hub.models.Backbone.from_preset(preset, load_weights=load_weights, dtype=policy, **options)
    except ImportError as error:  # of what reads its files
        raise InputError(
            f"`encoder` keras_hub/{preset} needs {error.name}: pip install {error.name}. Received: {error}."
        ) from error
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise InputError(
            f"`encoder` keras_hub/{preset} must be a preset that takes images of {_shape(input_shape)}. "
            f"Received: {str(error).strip().splitlines()[0]}"
        ) from error
    rule = _preprocessing(keras_hub, preset, backbone) if load_weights else Preprocessing()
    encoder = _on_images(preset, backbone, input_shape[2], rule)
    encoder.preprocessing = rule
    return encoder


def _keras_hub(preset: str) -> ModuleType:
    try:
        return importlib.import_module("keras_hub")
    except ImportError as error:
        raise InputError(
            f"`encoder` keras_hub/{preset} needs keras-hub: pip install keras-hub. Received: {error}."
        ) from error


def _shape(input_shape: tuple) -> str:
    return " x ".join("any" if size is None else str(size) for size in input_shape)


def _on_images(preset: str, backbone: keras.Model, channels: int, rule: Preprocessing) -> keras.Model:
    """Normalisation, backbone and feature in one model of one input."""
    given = backbone.input
    name, tensor = next(iter(given.items())) if isinstance(given, dict) else (None, given)
    several = isinstance(given, list | tuple) or (isinstance(given, dict) and len(given) > 1)
    if several or len(tensor.shape) != 4 or not hasattr(backbone.output, "shape"):
        raise InputError(
            f"`encoder` keras_hub/{preset} must map images to one tensor [B, ..., F]. Received: {backbone.output}."
        )
    if tensor.shape[-1] != channels:
        raise InputError(
            f"`encoder` keras_hub/{preset} takes images of {tensor.shape[-1]} channels. Received: {channels} channels."
        )
    images = keras.Input(tensor.shape[1:], name="images")
    pixels = (
        Normalize(rule.mean, rule.std, rule.reverse_channels, name="normalize")(images) if rule.normalizes else images
    )
    outputs = backbone(pixels if name is None else {name: pixels})
    return keras.Model(images, _feature(preset, backbone, outputs, images.shape), name=backbone.name)


def _feature(preset: str, backbone: keras.Model, outputs: Any, images: tuple) -> Any:
    rank = len(outputs.shape)
    if rank == 3 and _has_class_token(backbone, outputs.shape[1], images):
        return FirstToken(dtype="float32", name="class_token")(outputs)
    pools = {
        4: layers.GlobalAveragePooling2D,
        3: layers.GlobalAveragePooling1D,
        2: layers.Identity,
    }
    if rank not in pools:
        raise InputError(f"`encoder` keras_hub/{preset} must give one tensor [B, ..., F]. Received: {outputs}.")
    return pools[rank](dtype="float32", name="final_avg_pool" if rank > 2 else "feature")(outputs)


def _has_class_token(backbone: keras.Model, tokens: int | None, images: tuple) -> bool:
    """Whether there are more tokens than patches: the class token stands first, before registers and patches."""
    patch = getattr(backbone, "patch_size", None)
    if patch is None or tokens is None:
        return False
    height, width = (patch, patch) if isinstance(patch, int) else patch
    return tokens > (images[1] // height) * (images[2] // width)


def _preprocessing(keras_hub: ModuleType, preset: str, backbone: keras.Model) -> Preprocessing:
    """The rule that the preset tells, else its family's."""
    file = os.path.join(preset, "preprocessor_config.json")
    if os.path.isfile(file):
        with open(file, encoding="utf-8") as text:
            return _of_transformers(json.load(text))
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except (ValueError, OSError):  # it has none
        converter = None
    if converter is not None:
        return _of_converter(converter)
    family = type(backbone).__name__
    if family not in _FAMILIES:
        raise InputError(
            f"`encoder` keras_hub/{preset} must tell how its images are normalised, in image_converter.json or "
            f"preprocessor_config.json. Received: a {family} without it. "
            "Write it with keras_hub.layers.ImageConverter(...).save_to_preset(...)."
        )
    return PREPROCESSING[_FAMILIES[family]]


def _of_converter(converter: Any) -> Preprocessing:
    """`255 pixels * scale + offset` as `(pixels - mean) / std`."""
    scale, offset = np.broadcast_arrays(
        np.atleast_1d(1.0 if converter.scale is None else converter.scale),
        np.atleast_1d(0.0 if converter.offset is None else converter.offset),
    )
    std = 1 / (255 * scale)
    resize = converter.interpolation if converter.interpolation in ("bilinear", "bicubic") else "bicubic"
    return Preprocessing(
        crop=1.0,
        resize=f"antialiased {resize}" if converter.antialias else resize,
        mean=tuple(-offset * std),
        std=tuple(std),
    )


def _of_transformers(config: dict[str, Any]) -> Preprocessing:
    """The rule of a preprocessor_config.json."""
    factor = 255 * (config.get("rescale_factor", 1 / 255) if config.get("do_rescale", True) else 1)
    mean, std = (0.0,), (1.0,)
    if config.get("do_normalize", True):
        mean, std = config.get("image_mean", mean), config.get("image_std", std)
    crop, size = 1.0, config.get("size")
    shortest = size.get("shortest_edge") if isinstance(size, dict) else size
    if config.get("do_center_crop") and shortest:
        cropped = config.get("crop_size", shortest)
        cropped = cropped.get("height", shortest) if isinstance(cropped, dict) else cropped
        crop = min(1.0, cropped / shortest)
    exact = math.isclose(factor, 1)
    return Preprocessing(
        crop=crop,
        resize=_RESAMPLING.get(config.get("resample", 2), "antialiased bicubic"),
        mean=tuple(value if exact else value / factor for value in mean),
        std=tuple(value if exact else value / factor for value in std),
    )
