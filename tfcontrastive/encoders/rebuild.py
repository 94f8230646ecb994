"""A trained network again: for images of another size, in another precision, on other devices."""

from __future__ import annotations

import itertools
from typing import Any

import keras

from tfcontrastive.config import InputError
from tfcontrastive.encoders.channel_towers import ChannelTowers
from tfcontrastive.encoders.heads import ProjectionHead
from tfcontrastive.encoders.mlp import MLP
from tfcontrastive.encoders.resnet import ResNet

_SHOWN = 8  # weights that an error lists


def rebuild(encoder: keras.Model, *, image_size: int, weights: bool = True) -> keras.Model:
    """A new network like this one, with its weights, in the current precision and strategy.

    Args:
        encoder: images `[B, H, W, C]` -> features `[B, F]`.
        image_size: height and width that the new one takes.
        weights: False gives it first weights of its own.

    Raises:
        InputError: the network cannot be had at that size.

    Examples:
        >>> rebuild(ResNet(18, input_shape=(32, 32, 3)), image_size=64).input_shape
        (None, 64, 64, 3)
    """
    if isinstance(encoder, ChannelTowers):
        first, second = (
            rebuild(one, image_size=image_size, weights=weights) for one in (encoder.first, encoder.second)
        )
        return ChannelTowers(first, second, encoder.groups, encoder.name)
    shape = (image_size, image_size, encoder.input_shape[-1])
    try:
        copy = _of_settings(encoder, shape) or _of_layers(encoder, shape)
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"`image_size` must be one that {encoder.name} takes. Received: {image_size}: {reason}"
        ) from error
    if weights:
        copy_weights(encoder, copy, encoder.name)
    return copy


def _of_settings(encoder: keras.Model, shape: tuple[int, int, int]) -> keras.Model | None:
    """One of this package's networks, which are made from a few settings."""
    settings = encoder.get_config()
    if not {"input_shape", "dtype"} <= set(settings):
        return None
    if isinstance(encoder, ResNet) and settings["stem"] == "auto":  # the stem stays the one whose weights these are
        settings["stem"] = "small" if encoder.get_layer("initial_conv").strides[0] == 1 else "large"
    return type(encoder).from_config({**settings, "input_shape": shape, "dtype": None})


def _of_layers(encoder: keras.Model, shape: tuple[int, int, int]) -> keras.Model:
    """Any network of layers: each made again in the current precision."""
    policy = keras.config.dtype_policy()

    def again(layer):
        if not isinstance(layer, keras.Layer):  # a bare operation, such as x[:, 0], which has no precision
            return type(layer).from_config(layer.get_config())
        return type(layer).from_config({**layer.get_config(), "dtype": policy})

    images = keras.Input(shape, name="images")
    return keras.models.clone_model(encoder, input_tensors=images, clone_function=again, recursive=True)


def copy_of(network: keras.Layer, rule: str) -> keras.Layer:
    """Another network of the same configuration, with the same weights, in its own precision.

    Args:
        network: built.
        rule: what it must be, for the error.

    Raises:
        InputError: its configuration does not tell all of it.
    """
    known = {type(layer).__name__: type(layer) for layer in network._flatten_layers()}
    try:
        with keras.saving.custom_object_scope(known):
            copy = type(network).from_config(network.get_config())
            if not copy.built:
                copy.build_from_config(network.get_build_config())
    except (NotImplementedError, TypeError, ValueError) as error:
        class_name = type(network).__name__
        raise InputError(
            f"{rule}. Received: {class_name}, which {class_name}.from_config(encoder.get_config()) does not make again. "
            "Give it a `get_config` with the arguments of its __init__, or make it of layers, keras.Model(inputs, outputs)."
        ) from error
    copy_weights(network, copy, network.name)
    return copy


def copy_weights(source: keras.Layer, target: keras.Layer, name: str) -> None:
    """Gives a network the weights of another one of the same architecture.

    Args:
        source, target: both built.
        name: where the weights come from, for the error.

    Raises:
        InputError: they do not fit; lists which.
    """
    check_weights(source, target, name)
    for old, new in zip(source.variables, target.variables, strict=True):
        new.assign(old)


def check_weights(source: keras.Layer, target: keras.Layer, name: str) -> None:
    """Refuses weights that do not fit a network, by their shapes; see `copy_weights`."""
    differ = differing(source.variables, target.variables)
    if differ:
        more = f"; and {len(differ) - _SHOWN} more" if len(differ) > _SHOWN else ""
        raise InputError(
            f"the weights of {name} must fit the network. Received: {len(differ)} that do not: "
            f"{'; '.join(differ[:_SHOWN])}{more}. Leave the flags of the encoder out to take its own architecture."
        )


def differing(source: list[keras.Variable], target: list[keras.Variable]) -> list[str]:
    """What does not fit between two lists of weights, a line each: by position, or by name where one list is longer."""
    if len(source) == len(target):
        pairs = [(new.path, tuple(new.shape), tuple(old.shape)) for old, new in zip(source, target, strict=True)]
    else:
        old, new = ({v.path: tuple(v.shape) for v in variables} for variables in (source, target))
        pairs = [(name, new.get(name), old.get(name)) for name in dict.fromkeys(itertools.chain(new, old))]
    return [f"{name} {_shown(here)} here, {_shown(there)} there" for name, here, there in pairs if here != there]


def _shown(shape: tuple[int, ...] | None) -> str:
    return "none" if shape is None else str(list(shape))


def head_start(head: keras.Layer, selector: int, num_features: int) -> list[keras.Layer]:
    """New layers, with weights, that lead from the features to a hidden layer of a projection head.

    SimCLRv2 fine-tunes from the first of them: `[Dense, batch norm, ReLU]`.

    Args:
        head: a built `ProjectionHead` or `MLP`.
        selector: 0 for none of it, 1 for its first layer, ..., -1 for the whole.
        num_features: width of the features.

    Raises:
        InputError: there is no such layer, or a head of another kind.

    Source: arXiv 2006.10029, section 4.2.
    """
    if isinstance(head, ProjectionHead):
        last = len(head.denses) - 1
        groups = [
            [dense, norm, *([keras.layers.ReLU(dtype=norm.dtype_policy)] if index < last else [])]
            for index, (dense, norm) in enumerate(zip(head.denses, head.norms, strict=True))
        ]
    elif isinstance(head, MLP):
        groups = []
        for part in head.parts:
            groups += [[part]] if isinstance(part, keras.layers.Dense) else []
            groups[-1] += [] if isinstance(part, keras.layers.Dense) else [part]
    else:
        raise InputError(f"`ft_proj_selector` needs a projection head. Received: {type(head).__name__}.")
    if not -1 <= selector <= len(groups):
        raise InputError(
            f"`ft_proj_selector` must be -1 to {len(groups)}, the layers of this projection head. Received: {selector}."
        )
    chosen = groups if selector == -1 else groups[:selector]
    layers, width = [], num_features
    for layer in itertools.chain.from_iterable(chosen):
        copy: Any = type(layer).from_config(layer.get_config())
        copy.build((None, width))
        copy.set_weights(layer.get_weights())
        width = layer.units if isinstance(layer, keras.layers.Dense) else width
        layers.append(copy)
    return layers
