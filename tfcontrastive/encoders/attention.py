"""Attention, as vision transformers have it."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.positions import rotated

BIASES = ("all", "query_value", "none")
"""Which of queries, keys and values have one."""


def attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) -> tf.Tensor:
    """softmax(q k' / sqrt(d)) v, of each head: `[B, heads, N, d]`, `[B, heads, M, d]` twice -> `[B, heads, N, d]`.

    The softmax is taken in no less than float32.
    """
    logits = tf.matmul(q * q.shape[-1] ** -0.5, k, transpose_b=True)
    weights = tf.nn.softmax(logits if logits.dtype == tf.float64 else tf.cast(logits, tf.float32))
    return tf.matmul(tf.cast(weights, v.dtype), v)


def _heads(x: tf.Tensor, parts: int, num_heads: int) -> list[tf.Tensor]:
    """`[B, N, parts * D]` -> `parts` times `[B, heads, N, D / heads]`."""
    head = x.shape[-1] // (parts * num_heads)
    split = tf.unstack(tf.reshape(x, [-1, tf.shape(x)[1], parts, num_heads, head]), axis=2)
    return [tf.transpose(part, [0, 2, 1, 3]) for part in split]


def _joined(x: tf.Tensor) -> tf.Tensor:
    """`[B, heads, N, d]` -> `[B, N, heads * d]`."""
    return tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, tf.shape(x)[2], x.shape[1] * x.shape[3]])


@keras.saving.register_keras_serializable("tfcontrastive")
class SelfAttention(layers.Layer):
    """Multi-head self-attention `[B, N, D]` -> `[B, N, D]`.

    With queries, keys and values q, k, v, D / h wide, of each of the h heads:

        out = concat_heads( softmax(q k' / sqrt(D / h)) v ) W + b

    One dense layer, `qkv`, makes queries, keys and values, in this order and each head by head; `proj` is W and b. The
    softmax is taken in no less than float32. At first, queries, keys and values each are a Xavier-uniform map of their own.

    Args:
        num_heads: h >= 1; it divides D.
        bias: which of queries, keys and values have one: "all", in `qkv`; "query_value", variables of this layer, as
            DINOv3 keeps that of the keys at zero; or "none".
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens `[B, N, D]`.
        angles: `[2, M, D / h]` of `RotaryAngles`, by which queries and keys of the last M tokens are turned; None: of none.

    Raises:
        InputError: heads that do not divide the width, or an unknown `bias`.

    Examples:
        >>> SelfAttention(num_heads=2)(tf.zeros([4, 10, 8])).shape
        TensorShape([4, 10, 8])

    Source: Vaswani et al., arXiv 1706.03762; initialization as in MoCo v3, arXiv 2104.02057.
    """

    def __init__(self, num_heads: int, bias: str = "all", **kwargs):
        super().__init__(**kwargs)
        if bias not in BIASES:
            raise InputError(f"`bias` {unknown(bias, BIASES)}")
        self.num_heads = num_heads
        self.bias = bias

    def build(self, input_shape):
        width = input_shape[-1]
        if self.num_heads < 1 or width % self.num_heads:
            raise InputError(f"`num_heads` must divide the width, {width}. Received: num_heads={self.num_heads}.")
        limit = math.sqrt(6 / (width + width))
        separately = keras.initializers.RandomUniform(-limit, limit)
        self.qkv = layers.Dense(
            3 * width,
            use_bias=self.bias == "all",
            kernel_initializer=separately,
            name="qkv",
            dtype=self.dtype_policy,
        )
        self.proj = layers.Dense(width, name="proj", dtype=self.dtype_policy)
        for dense in (self.qkv, self.proj):
            dense.build(input_shape)
        if self.bias == "query_value":
            self.query_bias = self.add_weight(name="query_bias", shape=(width,), initializer="zeros")
            self.value_bias = self.add_weight(name="value_bias", shape=(width,), initializer="zeros")

    def call(self, inputs, angles=None):
        qkv = self.qkv(inputs)
        if self.bias == "query_value":
            query, value = (tf.cast(tf.convert_to_tensor(b), qkv.dtype) for b in (self.query_bias, self.value_bias))
            qkv += tf.concat([query, tf.zeros_like(query), value], axis=0)
        q, k, v = _heads(qkv, 3, self.num_heads)
        if angles is not None:
            q, k = rotated(q, angles), rotated(k, angles)
        return self.proj(_joined(attend(q, k, v)))

    def compute_output_shape(self, inputs_shape, angles_shape=None):
        return inputs_shape

    def get_config(self):
        more = {} if self.bias == "all" else {"bias": self.bias}
        return {**super().get_config(), "num_heads": self.num_heads, **more}


@keras.saving.register_keras_serializable("tfcontrastive")
class AttentionPool(layers.Layer):
    """One vector of a sequence, by the attention of a learned query: `[B, N, D]` -> `[B, D]`.

    As `SelfAttention`, with queries of the learned `probe`, by the dense layer `query`; `key_value` makes the others.

    Args:
        num_heads: h >= 1; it divides D.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens `[B, N, D]`.

    Examples:
        >>> AttentionPool(num_heads=2)(tf.zeros([4, 10, 8])).shape
        TensorShape([4, 8])

    Source: Zhai et al. (SigLIP), arXiv 2303.15343; Lee et al., arXiv 1810.00825.
    """

    def __init__(self, num_heads: int, **kwargs):
        super().__init__(**kwargs)
        self.num_heads = num_heads

    def build(self, input_shape):
        width = input_shape[-1]
        small = keras.initializers.TruncatedNormal(stddev=width**-0.5)
        self.probe = self.add_weight(name="probe", shape=(width,), initializer=small)
        self.query = layers.Dense(width, name="query", dtype=self.dtype_policy)
        self.key_value = layers.Dense(2 * width, name="key_value", dtype=self.dtype_policy)
        self.proj = layers.Dense(width, name="proj", dtype=self.dtype_policy)
        for dense in (self.query, self.key_value, self.proj):
            dense.build(input_shape)

    def call(self, inputs):
        probe = tf.cast(tf.convert_to_tensor(self.probe), inputs.dtype)[None, None]
        (q,) = _heads(self.query(probe), 1, self.num_heads)
        k, v = _heads(self.key_value(inputs), 2, self.num_heads)
        q = tf.broadcast_to(q, [tf.shape(inputs)[0], *q.shape[1:]])
        return self.proj(_joined(attend(q, k, v)))[:, 0]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], input_shape[2])

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads}
