"""What stands beside attention in the blocks of vision transformers: activations, gates, scales."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("tfcontrastive")
def quick_gelu(x: tf.Tensor) -> tf.Tensor:
    """x sigmoid(1.702 x), as OpenAI's CLIP has it."""
    return x * tf.sigmoid(1.702 * x)


@keras.saving.register_keras_serializable("tfcontrastive")
def gelu_tanh(x: tf.Tensor) -> tf.Tensor:
    """GELU by its formula with tanh."""
    return tf.nn.gelu(x, approximate=True)


ACTIVATIONS: dict[str, str | Callable] = {
    "gelu": "gelu",  # the exact one
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
}


@keras.saving.register_keras_serializable("tfcontrastive")
class LayerScale(layers.Layer):
    """x gamma, a learned number for each channel: `[..., D]` -> `[..., D]`.

    Args:
        initial: of each number; small ones start a block nearly shut.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: `[..., D]`.

    Examples:
        >>> LayerScale(0.5)(tf.ones([1, 2])).numpy()
        array([[0.5, 0.5]], dtype=float32)

    Source: Touvron et al. (CaiT), arXiv 2103.17239.
    """

    def __init__(self, initial: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.initial = initial

    def build(self, input_shape):
        constant = keras.initializers.Constant(self.initial)
        self.gamma = self.add_weight(name="gamma", shape=(input_shape[-1],), initializer=constant)

    def call(self, inputs):
        return inputs * tf.cast(tf.convert_to_tensor(self.gamma), inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "initial": self.initial}


@keras.saving.register_keras_serializable("tfcontrastive")
class SwiGLU(layers.Layer):
    """What a gate lets through, of inputs [g, x]: silu(g) x, `[..., 2 H]` -> `[..., H]`.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: `[..., 2 H]`.

    Examples:
        >>> SwiGLU()(tf.zeros([1, 6])).shape
        TensorShape([1, 3])

    Source: Shazeer, arXiv 2002.05202.
    """

    def call(self, inputs):
        gate, value = tf.split(inputs, 2, axis=-1)
        return tf.nn.silu(gate) * value

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], None if input_shape[-1] is None else input_shape[-1] // 2)

    def get_config(self):  # or Keras would not save one that was made from a config
        return super().get_config()
