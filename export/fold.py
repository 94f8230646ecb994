"""The encoder for inference alone: batch normalisation folded into the convolutions before it."""

from __future__ import annotations

from collections import Counter

import keras
import numpy as np

from tfcontrastive.config import InputError

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D)


def fold_batch_norm(encoder: keras.Model) -> keras.Model:
    """A copy of a functional encoder in which convolution and batch normalisation are one convolution with a bias.

    With the moving statistics `m` and `v`, `gamma (w * x + b - m) / sqrt(v + eps) + beta` is the convolution

        w' = w gamma / sqrt(v + eps),    b' = beta + (b - m) gamma / sqrt(v + eps)

    A pair is folded where the normalisation is all that sees the convolution's output, and each is used once; all other
    layers are copied. The weights are those of this moment: the copy does not follow the encoder, nor can it be trained.

    Args:
        encoder: a functional or sequential `keras.Model`, built.

    Returns:
        A model of the same inputs and outputs, equal to `encoder(images, training=False)` up to rounding.

    Raises:
        InputError: if the encoder is a subclassed model, whose graph cannot be seen.

    Examples:
        >>> fast = fold_batch_norm(tfcontrastive.ResNet(18, input_shape=(32, 32, 3)))

    Source: Jacob et al., arXiv 1712.05877, section 3.2.
    """
    graph = graph_of(encoder)
    pairs = pairs_of(graph)
    norms = {id(norm) for _, norm in pairs.values()}
    copies: list[tuple[keras.Layer, keras.Layer]] = []

    def copy(layer):
        if id(layer) in norms:
            return keras.layers.Identity(name=layer.name, dtype=layer.dtype_policy)
        config = layer.get_config()
        if "name" in config:  # TensorFlow's C++ sessions tell variables apart by their names alone
            config["name"] = f"folded_{layer.name}"
        if id(layer) in pairs:
            config["use_bias"] = True
        twin = type(layer).from_config(config)
        if isinstance(layer, keras.Layer):  # not one of keras.ops
            copies.append((layer, twin))
        return twin

    def call(layer, *args, **kwargs):
        # An identity does not take the mask, always None, that a normalisation is called with.
        return layer(*args) if isinstance(layer, keras.layers.Identity) else layer(*args, **kwargs)

    folded = keras.models.clone_model(graph, clone_function=copy, call_function=call, recursive=True)
    for layer, twin in copies:
        if id(layer) in pairs:
            twin.set_weights(folded_weights(*pairs[id(layer)]))
        else:
            twin.set_weights(layer.get_weights())
    return folded


def is_graph(model: object) -> bool:
    """Whether a model's layers form a graph that can be seen."""
    return isinstance(model, keras.Model) and bool(getattr(model, "inputs", None))


def graph_of(model: keras.Model) -> keras.Model:
    """The plain functional model of a model whose layers form a graph that can be seen."""
    if not is_graph(model):
        raise InputError(
            "`optimize` must be left out for an encoder that is no functional model: its graph cannot be rewritten. "
            f"Received: {type(model).__name__}."
        )
    inputs, outputs = (part[0] if len(part) == 1 else part for part in (model.inputs, model.outputs))
    return keras.Model(inputs, outputs, name=model.name)


def pairs_of(graph: keras.Model) -> dict[int, tuple[keras.Layer, keras.Layer]]:
    """{id of the convolution: (convolution, batch normalisation)}, those of nested models included."""
    nodes = [node for level in graph._nodes_by_depth.values() for node in level]
    seen_by = Counter(id(tensor) for node in nodes for tensor in node.input_tensors)
    seen_by.update(id(tensor) for tensor in graph.outputs)
    uses = Counter(id(node.operation) for node in nodes)
    pairs = {}
    for node in nodes:
        norm = node.operation
        if is_graph(norm):
            pairs.update(pairs_of(graph_of(norm)) if uses[id(norm)] == 1 else {})
        if not _is_foldable_norm(node) or uses[id(norm)] > 1:
            continue
        tensor = node.input_tensors[0]
        conv = tensor._keras_history.operation
        if _is_foldable_convolution(conv) and uses[id(conv)] == 1 and seen_by[id(tensor)] == 1:
            pairs[id(conv)] = (conv, norm)
    return pairs


def _is_foldable_norm(node) -> bool:
    norm = node.operation
    plain_call = len(node.input_tensors) == 1 and all(value is None for value in node.arguments.kwargs.values())
    return isinstance(norm, keras.layers.BatchNormalization) and plain_call and norm.axis in (-1, 3)


def _is_foldable_convolution(layer) -> bool:
    # A subclass may pad in its own way, but one with a `call` of its own may do anything.
    known = isinstance(layer, _CONVOLUTIONS) and type(layer).call in [kind.call for kind in _CONVOLUTIONS]
    return known and layer.activation is keras.activations.linear and layer.data_format == "channels_last"


def folded_weights(conv: keras.Layer, norm: keras.Layer) -> list[np.ndarray]:
    """The weights of the convolution with a bias that does what both do, in the order of Keras: its bias is the last."""
    *kernels, kernel = (np.asarray(keras.ops.convert_to_numpy(value), np.float64) for value in kernels_of(conv))
    mean, variance = (
        np.asarray(keras.ops.convert_to_numpy(value), np.float64) for value in (norm.moving_mean, norm.moving_variance)
    )
    gamma = 1.0 if norm.gamma is None else keras.ops.convert_to_numpy(norm.gamma)
    beta = 0.0 if norm.beta is None else keras.ops.convert_to_numpy(norm.beta)
    bias = 0.0 if conv.bias is None else keras.ops.convert_to_numpy(conv.bias)
    factor = gamma / np.sqrt(variance + norm.epsilon)
    # A depthwise kernel [h, w, C, M] gives C * M channels, the M of one input beside each other.
    factors = factor.reshape(kernel.shape[2:]) if isinstance(conv, keras.layers.DepthwiseConv2D) else factor
    return [*kernels, kernel * factors, beta + (bias - mean) * factor]


def kernels_of(conv: keras.Layer) -> list[keras.Variable]:
    """The kernels of a convolution, the one that gives its outputs last."""
    if isinstance(conv, keras.layers.SeparableConv2D):
        return [conv.depthwise_kernel, conv.pointwise_kernel]
    return [conv.kernel]
