"""The layers of a network, weights and all, on other inputs, and what they give on the way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras

from tfcontrastive.config import InputError
from tfcontrastive.encoders.checks import encoder_shape


def is_graph(network: Any) -> bool:
    """Whether a network is made of layers that Keras knows: a functional model, or a sequence that has been built."""
    return hasattr(getattr(network, "_functional", None) or network, "_run_through_graph")


def run_layers(
    network: keras.Model, inputs: Any, seen: Callable[[keras.Operation, Any], None] | None = None
) -> keras.KerasTensor:
    """What a functional model's layers make of a symbolic input, those of models inside it one by one.

    Args:
        network: a functional model, with one output.
        inputs: a `keras.KerasTensor`.
        seen: called with each layer and its output, in the order of the graph.
    """

    def apply(operation: keras.Operation, *args: Any, **kwargs: Any) -> Any:
        if is_graph(operation):
            return run_layers(operation, args[0], seen)
        output = operation(*args, **kwargs)
        if seen is not None:
            seen(operation, output)
        return output

    graph = getattr(network, "_functional", None) or network  # a Sequential holds one
    found = graph._run_through_graph(inputs, operation_fn=lambda operation: functools.partial(apply, operation))
    return found[0] if isinstance(found, (list, tuple)) else found


def of_another_size(encoder: keras.Model, side: int, why: str) -> keras.Model:
    """The encoder's layers as a network of smaller or larger images; the weights are the encoder's own.

    Args:
        encoder: a network of layers, images `[B, H, W, C]` -> features `[B, F]`.
        side: of the images that the new one takes, in pixels.
        why: the method, for the error.

    Returns:
        `[B, side, side, C]` -> `[B, F]`.

    Raises:
        InputError: its layers take one size alone.

    Examples:
        >>> encoder = tfcontrastive.ResNet(18, width_multiplier=0.0625, input_shape=(32, 32, 3))
        >>> of_another_size(encoder, 16, "CPC")(tf.zeros([2, 16, 16, 3])).shape
        TensorShape([2, 32])
    """
    shape = encoder_shape(encoder)
    images = keras.Input((side, side, shape.image[-1]), dtype=encoder.inputs[0].dtype)
    try:
        return keras.Model(images, run_layers(encoder, images), name=encoder.name)
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"{why} shows its encoder patches of {side} pixels: `encoder` must be one whose layers take images of any size. "
            f"Received: {encoder.name} for images {shape.image}."
        ) from error
