"""What is above each place of a grid: the masked convolutions of contrastive predictive coding."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("tfcontrastive")
class Context(layers.Layer):
    """Residual blocks of masked convolutions `[B, H, W, D]` -> `[B, H, W, D]`: row r sees rows 0 to r alone.

    A block is layer norm, Dense to `hidden_dim`, ReLU, a convolution over the row above and its own, three columns wide,
    ReLU, Dense back, plus the block's input. N blocks see N rows up and N columns to both sides.

    Args:
        depth: blocks, >= 1.
        hidden_dim: width inside of a block, >= 1.
        **kwargs: of `keras.layers.Layer`.

    Examples:
        >>> Context(depth=2, hidden_dim=16)(tf.zeros([4, 6, 6, 32])).shape
        TensorShape([4, 6, 6, 32])

    Source: Hénaff et al., arXiv 1905.09272, whose context network is a PixelCNN of five such blocks of 256.
    """

    def __init__(self, depth: int = 5, hidden_dim: int = 256, **kwargs):
        super().__init__(**kwargs)
        self.depth, self.hidden_dim = depth, hidden_dim
        self.parts: list[layers.Layer] = []

    def build(self, input_shape):
        width, hidden, dtype = input_shape[-1], self.hidden_dim, self.dtype_policy
        for i in range(self.depth):
            block = (
                layers.LayerNormalization(epsilon=1e-5, name=f"norm_{i}", dtype=dtype),
                layers.Dense(hidden, activation="relu", name=f"reduce_{i}", dtype=dtype),
                layers.Conv2D(hidden, (2, 3), activation="relu", name=f"masked_conv_{i}", dtype=dtype),
                layers.Dense(width, name=f"expand_{i}", dtype=dtype),
            )
            for part, channels in zip(block, (width, width, hidden, hidden), strict=True):
                part.build((None, None, None, channels))
                self.parts.append(part)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        x = inputs
        for i in range(0, len(self.parts), 4):
            norm, reduce, conv, expand = self.parts[i : i + 4]
            y = tf.pad(reduce(norm(x)), [[0, 0], [1, 0], [1, 1], [0, 0]])  # zeros above: no row sees one below
            x += expand(conv(y))
        return x

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "depth": self.depth, "hidden_dim": self.hidden_dim}
