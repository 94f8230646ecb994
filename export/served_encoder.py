"""The encoder as a served model runs it: batch normalisation folded into convolutions, weights as constants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.models import functional

from tfcontrastive.export.fold import folded_weights, graph_of, is_graph, kernels_of, pairs_of

MOST_CONSTANT_BYTES = 2**30
"""Of weights that are constants of the graph, whose file holds 2 GiB at most; above it they are variables."""

OVERRIDES = hasattr(functional, "operation_fn")
"""Whether a model called with `training=False` overrides a layer's own `training=True`: until Keras 3.16."""


class ServedEncoder:
    """What `fold_batch_norm` computes, as a function for a graph: it adds no layer, and every weight is a constant.

    Constants, since oneDNN then lays a kernel out once and not with each request. The weights are those of the moment
    of construction: nothing in it follows the encoder.

    Args:
        encoder: a functional or sequential `keras.Model`, built.

    Examples:
        >>> encoder = tfcontrastive.ResNet(18, 0.125, input_shape=(32, 32, 3))
        >>> served = ServedEncoder(encoder)
        >>> served.folds, served(tf.zeros([2, 32, 32, 3])).shape
        (21, TensorShape([2, 64]))
    """

    def __init__(self, encoder: keras.Model):
        self._graph = graph_of(encoder)
        pairs = pairs_of(self._graph)
        self.folds = len(pairs)
        self._norms = {id(norm) for _, norm in pairs.values()}
        self._biases: dict[int, np.ndarray] = {}
        weights = {id(variable): (variable, keras.ops.convert_to_numpy(variable)) for variable in encoder.variables}
        for conv, norm in pairs.values():
            *kernels, bias = folded_weights(conv, norm)
            for variable, value in zip(kernels_of(conv), kernels, strict=True):
                weights[id(variable)] = variable, value.astype(variable.dtype)
            if conv.bias is not None:
                weights[id(conv.bias)] = conv.bias, bias.astype(conv.bias.dtype)
            else:
                self._biases[id(conv)] = bias.astype(np.float32)
        unused = {id(variable) for _, norm in pairs.values() for variable in norm.variables}
        self._weights: list[tuple[keras.Variable, Any]] = [
            pair for place, pair in weights.items() if place not in unused
        ]
        self.variables: list[tf.Variable] = []
        if sum(value.nbytes for _, value in self._weights) > MOST_CONSTANT_BYTES:
            self._weights = [(variable, tf.Variable(value, trainable=False)) for variable, value in self._weights]
            self.variables = [value for _, value in self._weights]

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """The features `[B, F]` of images `[B, H, W, C]`."""
        weights = [(variable, tf.convert_to_tensor(value)) for variable, value in self._weights]
        with keras.StatelessScope(state_mapping=weights, initialize_variables=False):
            return self._through(self._graph, images)

    def _through(self, graph: keras.Model, inputs: Any) -> Any:
        return graph._run_through_graph(inputs, operation_fn=self._operation)

    def _operation(self, operation: Any) -> Callable:
        """What runs in place of a layer."""
        if id(operation) in self._norms:
            return lambda tensor, **_: tensor
        if id(operation) in self._biases:
            bias = self._biases[id(operation)]
            return lambda tensor: _with_bias(operation(tensor), bias)
        if _holds(operation, self._norms):
            return lambda tensor, **_: self._through(graph_of(operation), tensor)

        def call(*args, **kwargs):
            # As a functional model hands on `training=False` to its layers; Keras has had two names for who takes it.
            known = getattr(operation, "_call_context_args", ())
            if "training" in known or getattr(operation, "_call_has_training_arg", False):
                kwargs["training"] = False if OVERRIDES else kwargs.get("training", False)
            return operation(*args, **kwargs)

        return call


def served_encoder(encoder: keras.Model, optimize: bool | None) -> ServedEncoder | None:
    """The encoder as the inference signatures run it, None for as it is.

    Args:
        encoder: built.
        optimize: fold; None: where its layers form a graph that can be seen. Where nothing folds it stays as it is.

    Raises:
        InputError: to be folded, and no graph.
    """
    if optimize is False or (optimize is None and not is_graph(encoder)):
        return None
    served = ServedEncoder(encoder)
    return served if served.folds else None


def _with_bias(outputs: tf.Tensor, bias: np.ndarray) -> tf.Tensor:
    return tf.nn.bias_add(outputs, tf.cast(tf.constant(bias), outputs.dtype))


def _holds(operation: Any, norms: set[int]) -> bool:
    """Whether it is a model, a layer of which is folded."""
    return isinstance(operation, keras.Model) and any(id(layer) in norms for layer in operation._flatten_layers())
