"""`tf.custom_gradient`, whose traces end with their graphs."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

_OWNED = "_tfcontrastive_gradients"  # attribute of a graph


def custom_gradient(function: Callable[..., Any]) -> Callable[..., Any]:
    """`tf.custom_gradient` of a function of tensors, for which no graph is kept alive.

    TensorFlow registers the gradient of each trace under a name, for ever, and with it all tensors of the graph: a process
    that trains many models would grow by each of them. Here the graph owns the gradient, as it does its ops, and what is
    registered finds it there.

    Args:
        function: of tensors, to (results, a function from their gradients to those of the tensors).

    Examples:
        >>> square = custom_gradient(lambda x: (x * x, lambda upstream: 2 * x * upstream))
        >>> square(tf.constant(3.0)).numpy().item()
        9.0
    """
    recorded = tf.custom_gradient(function)

    @functools.wraps(function)
    @tf.autograph.experimental.do_not_convert
    def call(*tensors: tf.Tensor) -> Any:
        results = recorded(*tensors)
        if not tf.executing_eagerly():
            name = tf.nest.flatten(results)[0].op.get_attr("_gradient_op_type").decode()
            _give(tf.compat.v1.get_default_graph(), name)
        return results

    return call


def _give(graph: tf.Graph, name: str) -> None:
    """Makes a graph the owner of a gradient that is registered under a name."""
    gradient = gradient_registry.lookup(name)
    _forget(name)
    setattr(graph, _OWNED, [*getattr(graph, _OWNED, ()), gradient])
    kept = weakref.ref(gradient)

    @tf.RegisterGradient(name)
    @tf.autograph.experimental.do_not_convert
    def of_graph(op, *upstream):
        return kept()(op, *upstream)

    weakref.finalize(graph, _forget, name).atexit = False


def _forget(name: str) -> None:
    gradient_registry._registry.pop(name, None)
