"""A network in training mode, whose chance is a function of a seed and not of what ran before."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def random_states(network: keras.Layer) -> list[keras.Variable]:
    """The states of what draws random numbers in a network: one for each dropout, say."""
    return [generator.state for layer in network._flatten_layers() for generator in layer._seed_generators]


def seeded_call(network: keras.Layer, inputs: Any, seeds: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """A network's outputs in training mode, with random numbers from seeds that are handed over.

    The states of its random layers stay as they are: nothing of them needs to be kept for a run to go on as it would have.
    Statistics of batch normalisation move as ever.

    Args:
        network: built.
        inputs: what it takes.
        seeds: integers `[G, 2]`, for each of its `random_states`.

    Returns:
        the outputs, and what layers add to the loss.
    """
    states = random_states(network)
    mapping = [(state, tf.cast(seed, state.dtype)) for state, seed in zip(states, tf.unstack(seeds), strict=True)]
    with keras.StatelessScope(mapping, collect_losses=True, initialize_variables=False) as scope:
        outputs = network(inputs, training=True)
    drawn = {id(state) for state in states}
    for variable in network.non_trainable_variables:
        value = scope.get_current_value(variable)
        if value is not None and id(variable) not in drawn:
            variable.assign(value)
    return outputs, list(scope.losses)
