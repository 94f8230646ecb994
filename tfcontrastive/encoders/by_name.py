"""Encoders by their names: ours, those of keras.applications and of keras_hub."""

from __future__ import annotations

import functools
import importlib
import inspect

import keras
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.resnet import DEPTHS, ResNet
from tfcontrastive.encoders.vit import SIZES, ViT


def _vit(size: str, width_multiplier: float = 1.0, **options) -> ViT:
    """A ViT of a published size; a multiplier takes more or fewer heads, each as wide as it was."""
    width, depth, heads = SIZES[size]
    chosen = max(1, round(heads * width_multiplier))
    return ViT(**{"width": chosen * width // heads, "depth": depth, "num_heads": chosen, "name": size, **options})


OWN = {f"resnet{depth}": functools.partial(ResNet, depth) for depth in DEPTHS}
OWN |= {size: functools.partial(_vit, size) for size in SIZES}


def encoder_from_name(name: str, input_shape: tuple = (None, None, 3), **options) -> keras.Model:
    """A new, untrained encoder `[B, H, W, C]` -> `[B, F]` for images in [0, 1].

    Args:
        name: "resnet18" to "resnet200", "vit_small" to "vit_huge" (ours); "keras.applications/MobileNetV2" and its
            like; or "keras_hub/PRESET", where the preset of a backbone is one of keras_hub's or a directory holding one.
        input_shape: (height, width, channels); height and width may be None where the network allows it.
        **options: of the network's own function, such as `width_multiplier` or `alpha`.

    Returns:
        A `keras.Model`; a map of features is averaged over its positions.

    Raises:
        InputError: an unknown name, a shape or option that the network cannot take, or keras_hub is not installed.

    Example:
        >>> encoder_from_name("resnet18", (32, 32, 3), width_multiplier=0.25).output_shape
        (None, 128)
    """
    library, _, network = name.partition("/")
    makers = {"keras.applications": _from_applications, "keras_hub": _from_hub}
    if network and library in makers:
        make = functools.partial(makers[library], network)
    elif name in OWN:
        make = OWN[name]
    else:
        raise InputError(f"`encoder` {unknown(name, [*OWN, 'keras.applications/NAME', 'keras_hub/PRESET'])}")
    try:
        return make(input_shape=tuple(input_shape), **options)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"`encoder` {name} does not take input_shape={input_shape}, {options}: {error}") from error


def _from_applications(network, input_shape, **options):
    known = {key: value for key, value in vars(keras.applications).items() if key[:1].isupper() and callable(value)}
    if network not in known:
        raise InputError(f"The network in `encoder` keras.applications/NETWORK {unknown(network, known)}")
    function = known[network]
    if "include_preprocessing" in inspect.signature(function).parameters:
        options.setdefault("include_preprocessing", False)
    encoder = function(include_top=False, weights=None, pooling="avg", input_shape=input_shape, **options)
    if not any(isinstance(layer, layers.Rescaling) for layer in encoder.layers):
        return encoder
    images = keras.Input(input_shape, name="images")
    pixels = layers.Rescaling(255.0)(images)  # the network's own first layer expects 0 to 255
    return keras.Model(images, encoder(pixels), name=encoder.name)


def _from_hub(preset, input_shape, **options):
    try:
        keras_hub = importlib.import_module("keras_hub")
    except ImportError as error:
        raise InputError(
            f"`encoder` keras_hub/{preset} needs keras-hub: pip install keras-hub. Received: {error}."
        ) from error
    options = {"load_weights": False, "image_shape": input_shape, **options}
    backbone = keras_hub.models.Backbone.from_preset(preset, **options)
    features = backbone.output
    rank = len(features.shape) if hasattr(features, "shape") else None
    pools = {4: layers.GlobalAveragePooling2D, 3: layers.GlobalAveragePooling1D}
    if rank in pools:
        features = pools[rank](name="final_avg_pool")(features)
    elif rank != 2:
        raise InputError(f"`encoder` keras_hub/{preset} must give one tensor [B, ..., F]. Received: {features}.")
    return keras.Model(backbone.input, features, name=backbone.name)
