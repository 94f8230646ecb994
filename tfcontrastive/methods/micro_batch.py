"""Batches larger than memory: a network that holds the activations of a few images at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.encoders.checks import encoder_shape
from tfcontrastive.system.custom_gradient import custom_gradient

_SEEDS = 2**20  # a random layer draws fewer times in a pass


def encode_in_micro_batches(
    network: keras.Model,
    images: Any,
    size: int,
    training: bool,
    seeds: Sequence[tuple[keras.Variable, tf.Tensor]] = (),
) -> tf.Tensor:
    r"""Features of a batch whose activations do not fit in memory, with the exact gradient of any loss of them all.

    The forward pass keeps features only. The backward pass computes each micro batch b once more, from the same weights
    and state, with the gradient of the loss by its features:

    $$ \frac{dL}{dw} = \sum_b \left( \frac{d f_b}{dw} \right)^T \frac{dL}{d f_b} $$

    The network's state moves once: moving statistics become the mean of what each micro batch, on each replica, makes of
    them; the seeds of dropout go from one micro batch to the next.

    Args:
        network: a built model, images -> features `[., F]`.
        images: `[B, H, W, C]`, or whatever the network takes, tensors of B rows; no gradient flows to them.
        size: images in a micro batch; it divides B.
        training: as of the network; batch norm then takes the statistics of a micro batch.
        seeds: states of random layers, and for each the integers `[2]` that it draws from instead; it stays as it is.

    Returns:
        Features `[B, F]`, float32 (float64 of a float64 network).

    Raises:
        InputError: where `size` does not divide B.

    Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983.
    """
    rows = tf.nest.flatten(images)[0].shape[0]
    width, double = _features(network)
    if rows is not None and rows % size:
        raise InputError(
            f"`micro_batch_size` must divide a replica's {rows} images. Received: micro_batch_size={size}."
        )
    parts = tf.nest.map_structure(lambda x: tf.reshape(x, [-1, size, *_sides(x)]), images)
    count = tf.shape(tf.nest.flatten(parts)[0])[0] if rows is None else rows // size
    dtype = tf.float64 if double else tf.float32
    variables, given = network.non_trainable_variables, {id(variable): seed for variable, seed in seeds}
    before = [tf.convert_to_tensor(variable) for variable in variables]
    nothing = [tf.zeros_like(value) if value.dtype.is_floating else value for value in before]

    def encode(i, weights, state):
        """The features of micro batch i; the state: floats are sums over the micro batches so far, seeds go on."""
        inside = [old if old.dtype.is_floating else now for old, now in zip(before, state, strict=True)]
        for place, variable in enumerate(variables):
            if id(variable) in given:  # seeds of its own for each micro batch
                own = tf.cast(given[id(variable)], tf.int64) + tf.cast(i, tf.int64) * tf.constant([0, _SEEDS], tf.int64)
                inside[place] = tf.cast(own, inside[place].dtype)
        part = tf.nest.map_structure(lambda x: x[i], parts)
        features, after = network.stateless_call(weights, inside, part, training=training)
        after = [now + new if new.dtype.is_floating else new for now, new in zip(state, after, strict=True)]
        return tf.cast(features, dtype), after

    @custom_gradient
    def features_and_state(*weights):
        def forward(i, collected, state):
            features, state = encode(i, weights, state)
            return i + 1, collected.write(i, features), state

        collected = tf.TensorArray(dtype, count, element_shape=[size, width])
        _, collected, state = _loop(count, forward, collected, nothing)

        def gradient(upstream, *_):
            upstream = tf.reshape(upstream, [-1, size, width])

            def backward(i, totals, state):
                with tf.GradientTape() as tape:
                    tape.watch(weights)
                    features, state = encode(i, weights, state)
                found = tape.gradient(features, weights, upstream[i], unconnected_gradients="zero")
                return i + 1, [total + new for total, new in zip(totals, found, strict=True)], state

            return _loop(count, backward, [tf.zeros_like(weight) for weight in weights], nothing)[1]

        return (tf.reshape(collected.stack(), [-1, width]), *state), gradient

    features, *state = features_and_state(*[tf.convert_to_tensor(weight) for weight in network.trainable_variables])
    if training and state:
        moving = [i for i, value in enumerate(state) if value.dtype.is_floating]
        means = distribute.all_sum([state[i] for i in moving])
        for i, mean in zip(moving, means, strict=True):
            state[i] = mean / tf.cast(count * distribute.replica_count(), mean.dtype)
        kept = [i for i, variable in enumerate(variables) if id(variable) not in given]
        distribute.assign_all([variables[i].value for i in kept], [state[i] for i in kept])
    return tf.ensure_shape(features, [rows, width])


def _sides(x: tf.Tensor) -> list[Any]:
    """The sides of a row: numbers, where they are known when the graph is built."""
    return [tf.shape(x)[axis] if side is None else side for axis, side in enumerate(x.shape[1:], start=1)]


def _features(network: keras.Model) -> tuple[int, bool]:
    """The width of a network's features, and whether they are float64."""
    if getattr(network, "inputs", None):
        output = network.outputs[0]
        return output.shape[-1], output.dtype == "float64"
    shape = encoder_shape(network)
    return shape.num_features, shape.dtype == "float64"


def _loop(count, body, *start):
    """`body` for i in 0..count-1, one after the other, so that one micro batch is in memory."""
    return tf.while_loop(lambda i, *_: i < count, body, (0, *start), parallel_iterations=1)
