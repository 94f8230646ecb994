"""Encoders by their names: ours, those of keras.applications and of keras_hub."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import pkgutil
import warnings
from collections.abc import Callable

import keras
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.data.preprocessing import PREPROCESSING
from tfcontrastive.encoders.hub import hub_encoder
from tfcontrastive.encoders.registry import NETWORKS, Network
from tfcontrastive.system.user_code import load_object

_FAMILIES = {
    "densenet": "imagenet",
    "inception_resnet_v2": "symmetric",
    "inception_v3": "symmetric",
    "mobilenet": "symmetric",
    "mobilenet_v2": "symmetric",
    "nasnet": "symmetric",
    "resnet": "caffe",
    "resnet_v2": "symmetric",
    "vgg16": "caffe",
    "vgg19": "caffe",
    "xception": "symmetric",
}
"""What the `preprocess_input` of each module of keras.applications does; networks of the others do it themselves."""


@functools.cache
def networks() -> dict[str, Network]:
    """`NETWORKS`, once the modules of this room have filled it."""
    room = str(__package__)
    for module in pkgutil.iter_modules(importlib.import_module(room).__path__):
        importlib.import_module(f"{room}.{module.name}")
    return NETWORKS


def encoder_from_name(
    name: str, input_shape: tuple = (None, None, 3), *, weights: str | None = None, **options
) -> keras.Model:
    """An encoder `[B, H, W, C]` -> `[B, F]` for images in [0, 1]: untrained, but for presets of keras_hub.

    Args:
        name: "resnet18" to "resnet200", "vit_small" to "vit_huge" (ours); "keras.applications/MobileNetV2" and its
            like; "keras_hub/PRESET", one of keras_hub's or a directory, with its weights, see `hub_encoder`; or
            "file.py:function", a function of your own that takes `input_shape` and the options.
        input_shape: (height, width, channels); height and width may be None where the network allows it.
        weights: a file that Keras' `save_weights` wrote of this very network, or `save`; None: random weights. Networks of
            keras.applications then take images as their family's `preprocess_input` makes them.
        **options: of the network's own function, such as `width_multiplier` or `alpha`.

    Returns:
        A `keras.Model`; a map of features of a preset or of keras.applications is averaged over its positions.

    Raises:
        InputError: an unknown name, a shape or option that the network cannot take, weights of another network, or
            keras_hub is not installed.

    Examples:
        >>> encoder_from_name("resnet18", (32, 32, 3), width_multiplier=0.25).output_shape
        (None, 128)
    """
    library, _, network = name.partition("/")
    makers: dict[str, Callable[..., keras.Model]] = {"keras.applications": _from_applications, "keras_hub": _from_hub}
    if network and library in makers:
        make = functools.partial(makers[library], network, weights=weights)
    elif name in networks():
        make = functools.partial(_made, networks()[name].make, weights=weights)
    elif ":" in name:
        make = functools.partial(_made, load_object("encoder", name, "function"), weights=weights)
    else:
        others = ["keras.applications/NAME", "keras_hub/PRESET", "file.py:FUNCTION"]
        raise InputError(f"`encoder` {unknown(name, [*networks(), *others])}")
    if weights is not None and not os.path.isfile(weights):
        raise InputError(f"`weights` must be a file. Received: {weights!r}.")
    try:
        return make(input_shape=tuple(input_shape), **options)
    except InputError:
        raise
    except (TypeError, ValueError) as error:
        raise InputError(f"`encoder` {name} does not take input_shape={input_shape}, {options}: {error}") from error


def _made(function, weights, **options):
    network = function(**options)
    if not isinstance(network, keras.Model):
        raise InputError(f"`encoder` must make a keras.Model. Received: a {type(network).__name__}.")
    return _with_weights(network, weights)


def _from_hub(preset, weights, **options):
    if weights is not None:
        raise InputError(f"`weights` must be left out: keras_hub/{preset} brings its own. Received: {weights!r}.")
    return hub_encoder(preset, **options)


def _from_applications(network, weights, input_shape, **options):
    known = {key: value for key, value in vars(keras.applications).items() if key[:1].isupper() and callable(value)}
    if network not in known:
        raise InputError(f"The network in `encoder` keras.applications/NETWORK {unknown(network, known)}")
    function = known[network]
    if "include_preprocessing" in inspect.signature(function).parameters:
        options.setdefault("include_preprocessing", weights is not None)
    encoder = function(include_top=False, weights=None, pooling="avg", input_shape=input_shape, **options)
    family = function.__module__.rpartition(".")[2]
    if weights is not None:
        _with_weights(encoder, weights)
        if family in _FAMILIES:
            return PREPROCESSING[_FAMILIES[family]].on_pixels(encoder)
    elif not any(isinstance(layer, layers.Rescaling) for layer in encoder.layers):
        return encoder
    images = keras.Input(input_shape, name="images")
    pixels = layers.Rescaling(255.0)(images)  # the network's own first layer expects 0 to 255
    return keras.Model(images, encoder(pixels), name=encoder.name)


def _with_weights(network: keras.Model, file: str | None) -> keras.Model:
    """The network with the weights of a file, if one is given."""
    if file is None:
        return network
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=".*freshly-initialized")  # Keras leaves out what the file lacks
            network.load_weights(file)
    except (ValueError, OSError, KeyError, UserWarning) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"`weights` must be a file of {network.name}'s weights. Received: {file!r}: {reason}"
        ) from error
    return network
