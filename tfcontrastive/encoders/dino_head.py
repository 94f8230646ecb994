"""The head of DINO: an MLP to a bottleneck, and weight-normalised prototypes."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError


@keras.saving.register_keras_serializable("tfcontrastive")
class DINOHead(layers.Layer):
    """Features `[B, F]` -> directions `[B, bottleneck_dim]` of length 1.

    Dense layers with bias and GELU (by the error function) between them, without batch norm; weights start from a normal
    distribution of deviation 0.02, cut off at two of them.

    Args:
        hidden_dim: width of the hidden layers, >= 1.
        bottleneck_dim: of the output, >= 1.
        num_layers: 1 or more; 3 in the paper.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        InputError: a number below 1.

    Examples:
        >>> DINOHead(num_layers=3)(tf.zeros([4, 384])).shape
        TensorShape([4, 256])

    Source: Caron et al., arXiv 2104.14294, appendix C, without its last layer: see `WeightNormDense`.
    """

    def __init__(self, hidden_dim: int = 2048, bottleneck_dim: int = 256, num_layers: int = 3, **kwargs):
        super().__init__(**kwargs)
        for name, value in (
            ("hidden_dim", hidden_dim),
            ("bottleneck_dim", bottleneck_dim),
            ("num_layers", num_layers),
        ):
            if value < 1:
                raise InputError(f"`{name}` must be >= 1. Received: {name}={value}.")
        self.hidden_dim, self.bottleneck_dim, self.num_layers = hidden_dim, bottleneck_dim, num_layers
        self.parts: list[layers.Layer] = []

    def build(self, input_shape):
        width = input_shape[-1]
        widths = (self.hidden_dim,) * (self.num_layers - 1) + (self.bottleneck_dim,)
        for index, units in enumerate(widths):
            initializer = keras.initializers.TruncatedNormal(stddev=0.02)
            dense = layers.Dense(units, kernel_initializer=initializer, name=f"dense_{index}", dtype=self.dtype_policy)
            dense.build((None, width))
            self.parts.append(dense)
            width = units

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = self.parts[0](inputs)
        for dense in self.parts[1:]:
            x = dense(keras.ops.gelu(x, approximate=False))
        return tf.math.l2_normalize(x, axis=1)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.bottleneck_dim)

    def get_config(self):
        own = ("hidden_dim", "bottleneck_dim", "num_layers")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
