"""From a map of patches to the sequence that a transformer reads."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers


def sin_cos_positions(
    height: int | tf.Tensor, width: int | tf.Tensor, dim: int, dtype: tf.DType = tf.float32
) -> tf.Tensor:
    """Fixed embeddings of the places of a grid: `[height * width, dim]`, row by row.

    With w_m = 10000^(-4 m / dim), m < dim / 4, the patch in row r and column c has
    [sin(r w_m), cos(r w_m), sin(c w_m), cos(c w_m)].

    Args:
        height, width: of the grid.
        dim: a multiple of 4.
        dtype: float32 or float64.

    Examples:
        >>> sin_cos_positions(2, 2, 8)[0].numpy()  # sines 0, cosines 1
        array([0., 0., 1., 1., 0., 0., 1., 1.], dtype=float32)
    """
    omega = 10_000.0 ** (-tf.range(dim // 4, dtype=dtype) / (dim // 4))
    row, column = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    row, column = (tf.reshape(tf.cast(x, dtype), [-1, 1]) * omega for x in (row, column))
    return tf.concat([tf.sin(row), tf.cos(row), tf.sin(column), tf.cos(column)], axis=1)


@keras.saving.register_keras_serializable("tfcontrastive")
class Tokens(layers.Layer):
    """A learned class token, then the patches with their places added: `[B, h, w, D]` -> `[B, 1 + h w, D]`.

    The places are `sin_cos_positions` of the grid, whatever its size; the class token has none.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: embedded patches `[B, h, w, D]`.

    Examples:
        >>> Tokens()(tf.zeros([2, 14, 14, 384])).shape
        TensorShape([2, 197, 384])

    Source: Dosovitskiy et al., arXiv 2010.11929; fixed positions as in MoCo v3, arXiv 2104.02057.
    """

    def build(self, input_shape):
        nearly_zero = keras.initializers.RandomNormal(stddev=1e-6)
        self.class_token = self.add_weight(name="class_token", shape=(input_shape[-1],), initializer=nearly_zero)

    def call(self, inputs):
        _, height, width, dim = inputs.shape
        batch = tf.shape(inputs)[0]
        height, width = (
            tf.shape(inputs)[axis + 1] if size is None else size for axis, size in enumerate((height, width))
        )
        patches = tf.reshape(inputs, [batch, height * width, dim])
        wide = tf.float64 if patches.dtype == tf.float64 else tf.float32
        patches += tf.cast(sin_cos_positions(height, width, dim, wide), patches.dtype)
        first = tf.broadcast_to(tf.cast(tf.convert_to_tensor(self.class_token), patches.dtype), [batch, 1, dim])
        return tf.concat([first, patches], axis=1)

    def compute_output_shape(self, input_shape):
        batch, height, width, dim = input_shape
        return (batch, None if height is None or width is None else 1 + height * width, dim)
