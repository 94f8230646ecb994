"""Batches larger than memory: a network that holds the activations of a few images at a time."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.encoders.checks import encoder_shape
from tfcontrastive.system.custom_gradient import custom_gradient


def encode_in_micro_batches(network: keras.Model, images: tf.Tensor, size: int, training: bool) -> tf.Tensor:
    r"""Features of a batch whose activations do not fit in memory, with the exact gradient of any loss of them all.

    The forward pass keeps features only. The backward pass computes each micro batch b once more, from the same weights
    and state, with the gradient of the loss by its features:

    $$ \frac{dL}{dw} = \sum_b \left( \frac{d f_b}{dw} \right)^T \frac{dL}{d f_b} $$

    The network's state moves once: moving statistics become the mean of what each micro batch, on each replica, makes of
    them; the seeds of dropout go from one micro batch to the next.

    Args:
        network: a built model, images -> features `[., F]`.
        images: `[B, H, W, C]`; no gradient flows to them.
        size: images in a micro batch; it divides B.
        training: as of the network; batch norm then takes the statistics of a micro batch.

    Returns:
        Features `[B, F]`, float32 (float64 of a float64 network).

    Raises:
        InputError: where `size` does not divide B.

    Source: Gao et al., "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", arXiv 2101.06983.
    """
    rows, shape = images.shape[0], encoder_shape(network)
    width = shape.num_features
    if rows is not None and rows % size:
        raise InputError(
            f"`micro_batch_size` must divide a replica's {rows} images. Received: micro_batch_size={size}."
        )
    parts = tf.reshape(images, [-1, size, *images.shape[1:]])
    count = tf.shape(parts)[0] if rows is None else rows // size
    dtype = tf.float64 if shape.dtype == "float64" else tf.float32
    before = [tf.convert_to_tensor(variable) for variable in network.non_trainable_variables]
    nothing = [tf.zeros_like(value) if value.dtype.is_floating else value for value in before]

    def encode(i, weights, state):
        """The features of micro batch i; the state: floats are sums over the micro batches so far, seeds go on."""
        inside = [old if old.dtype.is_floating else now for old, now in zip(before, state, strict=True)]
        features, after = network.stateless_call(weights, inside, parts[i], training=training)
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
        distribute.assign_all([variable.value for variable in network.non_trainable_variables], state)
    return tf.ensure_shape(features, [rows, width])


def _loop(count, body, *start):
    """`body` for i in 0..count-1, one after the other, so that one micro batch is in memory."""
    return tf.while_loop(lambda i, *_: i < count, body, (0, *start), parallel_iterations=1)
