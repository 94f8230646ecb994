"""Self-attention, as vision transformers have it."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError


@keras.saving.register_keras_serializable("tfcontrastive")
class SelfAttention(layers.Layer):
    """Multi-head self-attention `[B, N, D]` -> `[B, N, D]`.

    With queries, keys and values q, k, v, D / h wide, of each of the h heads:

        out = concat_heads( softmax(q k' / sqrt(D / h)) v ) W + b

    One dense layer, `qkv`, makes queries, keys and values, in this order and each head by head; `proj` is W and b. The
    softmax is taken in no less than float32. At first, queries, keys and values each are a Xavier-uniform map of their own.

    Args:
        num_heads: h >= 1; it divides D.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens `[B, N, D]`.

    Raises:
        InputError: heads that do not divide the width.

    Examples:
        >>> SelfAttention(num_heads=2)(tf.zeros([4, 10, 8])).shape
        TensorShape([4, 10, 8])

    Source: Vaswani et al., arXiv 1706.03762; initialization as in MoCo v3, arXiv 2104.02057.
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        width = input_shape[-1]
        if self.num_heads < 1 or width % self.num_heads:
            raise InputError(f"`num_heads` must divide the width, {width}. Received: num_heads={self.num_heads}.")
        limit = math.sqrt(6 / (width + width))
        separately = keras.initializers.RandomUniform(-limit, limit)
        self.qkv = layers.Dense(3 * width, kernel_initializer=separately, name="qkv", dtype=self.dtype_policy)
        self.proj = layers.Dense(width, name="proj", dtype=self.dtype_policy)
        for dense in (self.qkv, self.proj):
            dense.build(input_shape)

    def call(self, inputs):
        tokens, width = tf.shape(inputs)[1], inputs.shape[-1]
        head = width // self.num_heads
        q, k, v = tf.unstack(tf.reshape(self.qkv(inputs), [-1, tokens, 3, self.num_heads, head]), axis=2)
        q, k, v = (tf.transpose(x, [0, 2, 1, 3]) for x in (q * head**-0.5, k, v))
        logits = tf.matmul(q, k, transpose_b=True)
        weights = tf.nn.softmax(logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32))
        mixed = tf.transpose(tf.matmul(tf.cast(weights, v.dtype), v), [0, 2, 1, 3])
        return self.proj(tf.reshape(mixed, [-1, tokens, width]))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
