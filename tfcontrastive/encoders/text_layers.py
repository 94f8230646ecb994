"""What a transformer of texts has beside its blocks: tokens with places, and the vector of a text."""

from __future__ import annotations

import keras
import tensorflow as tf
from keras import layers


@keras.saving.register_keras_serializable("tfcontrastive")
class TextTokens(layers.Layer):
    """Ids `[B, N]`, 0 for padding -> tokens `[B, M, D]` and which of them count, bool `[B, M]`.

        token_j = table[id_j] + place_j

    Args:
        vocabulary_size: V, the ids that there are, padding included.
        width: D.
        class_token: whether a learned token stands first: M = N + 1; else M = N.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: integers `[B, N]` in 0..V-1.

    Examples:
        >>> tokens, counts = TextTokens(10, 4)(tf.constant([[3, 7, 0]]))
        >>> tokens.shape, counts.numpy().tolist()
        (TensorShape([1, 3, 4]), [[True, True, False]])
    """

    def __init__(self, vocabulary_size: int, width: int, class_token: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.width = width
        self.class_token = class_token

    def build(self, input_shape):
        small = keras.initializers.TruncatedNormal(stddev=0.02)
        self.table = self.add_weight(name="table", shape=(self.vocabulary_size, self.width), initializer=small)
        self.places = self.add_weight(name="position_embedding", shape=(input_shape[1], self.width), initializer=small)
        if self.class_token:
            self.first = self.add_weight(name="class_token", shape=(self.width,), initializer=small)

    def call(self, inputs):
        table, places = (tf.cast(tf.convert_to_tensor(v), self.compute_dtype) for v in (self.table, self.places))
        tokens, counts = tf.gather(table, inputs) + places, inputs != 0
        if not self.class_token:
            return tokens, counts
        rows = tf.shape(inputs)[0]
        first = tf.broadcast_to(tf.cast(tf.convert_to_tensor(self.first), tokens.dtype), [rows, 1, self.width])
        return tf.concat([first, tokens], axis=1), tf.concat([tf.ones([rows, 1], tf.bool), counts], axis=1)

    def compute_output_spec(self, inputs):
        rows, length = inputs.shape
        length = length + 1 if self.class_token else length
        return (
            keras.KerasTensor((rows, length, self.width), dtype=self.compute_dtype),
            keras.KerasTensor((rows, length), dtype="bool"),
        )

    def get_config(self):
        own = {"vocabulary_size": self.vocabulary_size, "width": self.width, "class_token": self.class_token}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tfcontrastive")
class MaskedMean(layers.Layer):
    """The mean of the tokens that count, `[B, N, D]` and `[B, N]` -> `[B, D]`; zeros where none does.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        tokens: `[B, N, D]`.
        counts: bool or numbers `[B, N]`, 0 for those that do not count.

    Examples:
        >>> MaskedMean()(tf.constant([[[1.0], [3.0], [9.0]]]), tf.constant([[True, True, False]])).numpy()
        array([[2.]], dtype=float32)
    """

    def call(self, tokens, counts):
        wide = tokens if tokens.dtype == tf.float64 else tf.cast(tokens, tf.float32)
        weights = tf.cast(tf.cast(counts, tf.bool), wide.dtype)[:, :, None]
        mean = tf.math.divide_no_nan(tf.reduce_sum(wide * weights, axis=1), tf.reduce_sum(weights, axis=1))
        return tf.cast(mean, tokens.dtype)

    def compute_output_shape(self, tokens_shape, counts_shape=None):
        return (tokens_shape[0], tokens_shape[2])

    def get_config(self):  # or Keras would not save one that was made from a config
        return super().get_config()
