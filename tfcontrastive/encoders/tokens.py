"""From a map of patches to the sequence that a transformer reads."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.positions import INTERPOLATIONS, grid_of, resized_positions, sin_cos_positions

__all__ = ["POSITIONS", "Tokens", "sin_cos_positions"]

POSITIONS = ("sin_cos", "learned", "none")
"""What is added to the patches."""


@keras.saving.register_keras_serializable("tfcontrastive")
class Tokens(layers.Layer):
    """A class token, registers, then the patches with their places added: `[B, h, w, D]` -> `[B, N, D]`.

    Only the patches have a place: what a network adds to its class token is part of that token here.

    Args:
        class_token: whether there is one, learned.
        registers: how many learned tokens stand between it and the patches.
        positions: "sin_cos", see `sin_cos_positions`; "learned", a table; or "none".
        grid: (height, width) of the learned table. Other sizes of images get an interpolated one.
        interpolation: how, one of `INTERPOLATIONS`.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: embedded patches `[B, h, w, D]`.

    Raises:
        InputError: an unknown kind of positions or interpolation, or a learned table without a grid.

    Examples:
        >>> Tokens()(tf.zeros([2, 14, 14, 384])).shape
        TensorShape([2, 197, 384])

    Source: Dosovitskiy et al., arXiv 2010.11929; fixed positions as in MoCo v3, arXiv 2104.02057; registers as in
    arXiv 2309.16588.
    """

    def __init__(
        self,
        class_token: bool = True,
        registers: int = 0,
        positions: str = "sin_cos",
        grid: tuple[int, int] | None = None,
        interpolation: str = "bicubic",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if positions not in POSITIONS:
            raise InputError(f"`positions` {unknown(positions, POSITIONS)}")
        if interpolation not in INTERPOLATIONS:
            raise InputError(f"`interpolation` {unknown(interpolation, INTERPOLATIONS)}")
        if (grid is None) == (positions == "learned"):
            raise InputError(f"`grid` must be given with positions=learned, and only then. Received: {grid}.")
        self.has_class_token, self.registers = class_token, registers
        self.positions, self.interpolation = positions, interpolation
        self.grid = None if grid is None else (int(grid[0]), int(grid[1]))

    def build(self, input_shape):
        width = input_shape[-1]
        nearly_zero = keras.initializers.RandomNormal(stddev=1e-6)
        if self.has_class_token:
            self.class_token = self.add_weight(name="class_token", shape=(width,), initializer=nearly_zero)
        if self.registers:
            self.register_tokens = self.add_weight(
                name="register_tokens", shape=(self.registers, width), initializer=nearly_zero
            )
        if self.grid is not None:
            small = keras.initializers.TruncatedNormal(stddev=0.02)
            shape = (self.grid[0] * self.grid[1], width)
            self.table = self.add_weight(name="positions", shape=shape, initializer=small)

    def call(self, inputs):
        dim, batch = inputs.shape[-1], tf.shape(inputs)[0]
        height, width = grid_of(inputs)
        patches = tf.reshape(inputs, [batch, height * width, dim])
        wide = tf.float64 if patches.dtype == tf.float64 else tf.float32
        if self.positions == "sin_cos":
            patches += tf.cast(sin_cos_positions(height, width, dim, wide), patches.dtype)
        elif self.positions == "learned":
            table = tf.cast(tf.convert_to_tensor(self.table), wide)
            table = resized_positions(table, self.grid, height, width, self.interpolation)
            patches += tf.cast(table, patches.dtype)
        before = []
        if self.has_class_token:
            before.append(tf.convert_to_tensor(self.class_token)[None])
        if self.registers:
            before.append(tf.convert_to_tensor(self.register_tokens))
        before = [tf.broadcast_to(tf.cast(tokens, patches.dtype), [batch, *tokens.shape]) for tokens in before]
        return tf.concat([*before, patches], axis=1)

    def compute_output_shape(self, input_shape):
        batch, height, width, dim = input_shape
        before = int(self.has_class_token) + self.registers
        return (batch, None if height is None or width is None else before + height * width, dim)

    def get_config(self):
        told = {
            "class_token": (self.has_class_token, True),
            "registers": (self.registers, 0),
            "positions": (self.positions, "sin_cos"),
            "grid": (self.grid, None),
            "interpolation": (self.interpolation, "bicubic"),
        }
        return {**super().get_config(), **{name: value for name, (value, usual) in told.items() if value != usual}}
