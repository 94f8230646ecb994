"""A Dense layer of directions: weight normalisation."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError


@keras.saving.register_keras_serializable("tfcontrastive")
class WeightNormDense(layers.Layer):
    """`[B, D]` -> `[B, units]`: dot products with directions, y_k = g_k <x, v_k> / |v_k|, without bias.

    Args:
        units: K >= 1.
        train_gain: learn the gains g, which start at 1; else they stay there.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: `[B, D]`.
        frozen: a boolean, may be a tensor; where it is true no gradient flows to the layer's weights.

    Raises:
        InputError: units below 1.

    Examples:
        >>> layer = WeightNormDense(5)
        >>> y = layer(tf.constant([[3.0, 4.0]]))
        >>> bool(tf.reduce_all(tf.abs(y) <= 5.0))
        True

    Source: Salimans and Kingma, "Weight Normalization", arXiv 1602.07868; the last layer of DINO, arXiv 2104.14294.
    """

    def __init__(self, units: int, train_gain: bool = False, **kwargs):
        super().__init__(**kwargs)
        if units < 1:
            raise InputError(f"`units` must be >= 1. Received: units={units}.")
        self.units, self.train_gain = units, train_gain

    def build(self, input_shape):
        # The directions of torch's Linear, whose weights DINO normalises, are those of a cube's points.
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.units),
            initializer=keras.initializers.RandomUniform(-(input_shape[-1] ** -0.5), input_shape[-1] ** -0.5),
        )
        self.gain = self.add_weight(name="gain", shape=(self.units,), initializer="ones") if self.train_gain else None

    def call(self, inputs: tf.Tensor, frozen: bool | tf.Tensor = False) -> tf.Tensor:
        weights = [tf.convert_to_tensor(self.kernel)] + ([] if self.gain is None else [tf.convert_to_tensor(self.gain)])
        if frozen is not False:
            weights = [tf.where(frozen, tf.stop_gradient(weight), weight) for weight in weights]
        y = tf.matmul(inputs, tf.math.l2_normalize(weights[0], axis=0))
        return y if self.gain is None else y * weights[1]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "train_gain": self.train_gain}
