"""The multi-layer heads of momentum, bootstrap and redundancy methods."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.batch_norm import BatchNorm

LAST = ("none", "full", "plain")


@keras.saving.register_keras_serializable("tfcontrastive")
class MLP(layers.Layer):
    """Dense layers `[B, F]` -> `[B, widths[-1]]`, with ReLU between them and batch normalisation where asked for.

    Args:
        widths: units of each layer, the last being the output's.
        use_bias: whether Dense layers that no normalisation follows have a bias; the others need none.
        hidden_norm: batch normalisation after each hidden layer, before its ReLU.
        last_norm: after the last layer: "none", "full" (batch normalisation) or "plain" (without scale and offset).
        global_bn: take the statistics over all replicas.
        batch_norm_decay: of the moving statistics.
        **kwargs: of `keras.layers.Layer`.

    Raises:
        InputError: no widths, one below 1, or an unknown `last_norm`.

    Examples:
        >>> byol_projector = MLP((4096, 256))
        >>> moco_v2_head = MLP((2048, 128), hidden_norm=False)
    """

    def __init__(
        self,
        widths: Sequence[int],
        use_bias: bool = True,
        hidden_norm: bool = True,
        last_norm: str = "none",
        global_bn: bool = True,
        batch_norm_decay: float = 0.9,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not widths or min(widths) < 1:
            raise InputError(f"`widths` must be one or more numbers >= 1. Received: widths={tuple(widths)}.")
        if last_norm not in LAST:
            raise InputError(f"`last_norm` {unknown(last_norm, LAST)}")
        self.widths = tuple(widths)
        self.use_bias = use_bias
        self.hidden_norm = hidden_norm
        self.last_norm = last_norm
        self.global_bn = global_bn
        self.batch_norm_decay = batch_norm_decay
        self.parts: list[layers.Layer] = []

    def build(self, input_shape):
        width = input_shape[-1]
        for index, units in enumerate(self.widths):
            last = index == len(self.widths) - 1
            norm = self.last_norm if last else ("full" if self.hidden_norm else "none")
            self._add(layers.Dense(units, use_bias=self.use_bias and norm == "none", name=f"dense_{index}",
                                   dtype=self.dtype_policy), width)  # fmt: skip
            if norm != "none":
                affine = norm == "full"
                self._add(BatchNorm(self.batch_norm_decay, synchronized=self.global_bn, center=affine, scale=affine,
                                    name=f"norm_{index}", dtype=self.dtype_policy), units)  # fmt: skip
            if not last:
                self._add(layers.ReLU(name=f"relu_{index}", dtype=self.dtype_policy), units)
            width = units

    def _add(self, layer: layers.Layer, width: int) -> None:
        layer.build((None, width))
        self.parts.append(layer)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        x = inputs
        for part in self.parts:
            x = part(x, training=training) if isinstance(part, BatchNorm) else part(x)
        return x

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.widths[-1])

    def get_config(self):
        own = ("widths", "use_bias", "hidden_norm", "last_norm", "global_bn", "batch_norm_decay")
        return {**super().get_config(), **{key: getattr(self, key) for key in own}}
