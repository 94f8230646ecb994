"""Where a patch is, as vision transformers are told it: sines and cosines, learned tables at any size, rotations."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
from keras import layers

INTERPOLATIONS = ("bicubic", "bicubic_offset", "bicubic_antialias")
"""How a learned table is brought to another grid. `bicubic`: torch's; `bicubic_offset`: as DINO and DINOv2 do it, for a
grid that is 0.1 larger than it is; `bicubic_antialias`: torch's with antialiasing, as timm and DINOv2 with registers."""


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


def resized_positions(
    table: tf.Tensor, grid: tuple[int, int], height: int | tf.Tensor, width: int | tf.Tensor, interpolation: str
) -> tf.Tensor:
    """A learned table of places for a grid of another size: `[g_h g_w, D]` -> `[height * width, D]`.

    A bicubic resize is linear and separable: table' = R_h table R_w', each R one row of weights a new place.

    Args:
        table: a vector a place, row by row.
        grid: (g_h, g_w), which it was learned on.
        height, width: of the new grid.
        interpolation: one of `INTERPOLATIONS`.

    Examples:
        >>> resized_positions(tf.ones([4, 8]), (2, 2), 3, 5, "bicubic").shape
        TensorShape([15, 8])
    """
    if isinstance(height, int) and isinstance(width, int) and (height, width) == tuple(grid):
        return table
    square = tf.reshape(table, [*grid, table.shape[-1]])
    rows, columns = (_weights(old, new, interpolation) for old, new in zip(grid, (height, width), strict=True))
    if interpolation == "bicubic_offset":  # its own grid is left as it is, in both directions or in none
        same = tf.logical_and(tf.equal(height, grid[0]), tf.equal(width, grid[1]))
        rows, columns = (
            tf.where(same, tf.eye(tf.shape(weights)[0], old), weights)
            for weights, old in zip((rows, columns), grid, strict=True)
        )
    rows, columns = (tf.cast(weights, table.dtype) for weights in (rows, columns))
    made = tf.einsum("ih,hwd,jw->ijd", rows, square, columns)
    return tf.reshape(made, [-1, table.shape[-1]])


def _weights(old: int, new: int | tf.Tensor, interpolation: str) -> tf.Tensor:
    """How much of each old place is in each new one, along one axis: `[new, old]`."""
    places = tf.range(tf.cast(new, tf.float32)) + 0.5
    length = tf.cast(new, tf.float32) + (0.1 if interpolation == "bicubic_offset" else 0.0)
    scale = old / length
    if interpolation == "bicubic_antialias":
        wide = tf.maximum(scale, 1.0)
        away = (tf.range(old, dtype=tf.float32) + 0.5 - scale * places[:, None]) / wide
        weights = _cubic(away, -0.5)
        return weights / tf.reduce_sum(weights, axis=1, keepdims=True)
    source = scale * places - 0.5
    first = tf.floor(source)
    total = tf.zeros([tf.shape(places)[0], old])
    for tap in (-1, 0, 1, 2):  # beyond the edge, the place at the edge
        index = tf.clip_by_value(tf.cast(first, tf.int32) + tap, 0, old - 1)
        total += _cubic(first + tap - source, -0.75)[:, None] * tf.one_hot(index, old)
    return total


def _cubic(x: tf.Tensor, a: float) -> tf.Tensor:
    """The cubic convolution kernel (Keys, 1981)."""
    x = tf.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((x - 5) * x + 8) * x * a - 4 * a
    return tf.where(x <= 1, near, tf.where(x < 2, far, 0.0))


@keras.saving.register_keras_serializable("tfcontrastive")
class RotaryAngles(layers.Layer):
    """By how much the queries and keys of each patch are turned: `[B, h, w, D]` -> cosines and sines `[2, h w, head_dim]`.

    With r = 2 (row + 1/2) / h - 1, c likewise, and f_m = 100^(-4 m / head_dim), m < head_dim / 4, the angles are
    2 pi [r f, c f], twice; see `rotated`.

    Args:
        head_dim: of the attention, a multiple of 4.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: embedded patches, of which only the shape is used.

    Examples:
        >>> RotaryAngles(8)(tf.zeros([2, 3, 5, 16])).shape
        TensorShape([2, 15, 8])

    Source: Siméoni et al. (DINOv3), arXiv 2508.10104, without its changes at random in training.
    """

    def __init__(self, head_dim: int, **kwargs):
        super().__init__(**kwargs)
        self.head_dim = head_dim

    def call(self, inputs):
        height, width = grid_of(inputs)
        wide = tf.float64 if inputs.dtype == tf.float64 else tf.float32
        frequency = 100.0 ** (-4 * tf.range(self.head_dim // 4, dtype=wide) / self.head_dim)
        row, column = (
            2 * (tf.range(tf.cast(n, wide), dtype=wide) + 0.5) / tf.cast(n, wide) - 1 for n in (height, width)
        )
        row, column = tf.meshgrid(row, column, indexing="ij")
        angles = [2 * math.pi * tf.reshape(x, [-1, 1]) * frequency for x in (row, column)]
        angles = tf.concat([*angles, *angles], axis=1)
        return tf.cast(tf.stack([tf.cos(angles), tf.sin(angles)]), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        _, height, width, _ = input_shape
        return (2, None if height is None or width is None else height * width, self.head_dim)

    def get_config(self):
        return {**super().get_config(), "head_dim": self.head_dim}


def rotated(x: tf.Tensor, angles: tf.Tensor) -> tf.Tensor:
    """Queries or keys `[B, heads, N, head_dim]` with the patches among them, which stand last, turned by their angles.

    With x = [x1, x2], each half a head wide: x cos + [-x2, x1] sin.
    """
    first = tf.shape(x)[2] - tf.shape(angles)[1]
    before, patches = x[:, :, :first], x[:, :, first:]
    left, right = tf.split(patches, 2, axis=-1)
    cosine, sine = tf.unstack(tf.cast(angles, x.dtype))
    return tf.concat([before, patches * cosine + tf.concat([-right, left], axis=-1) * sine], axis=2)


def grid_of(patches: tf.Tensor) -> tuple[int | tf.Tensor, int | tf.Tensor]:
    """Height and width of a map `[B, h, w, D]`: numbers where they are known, else tensors."""
    height, width = (tf.shape(patches)[axis] if patches.shape[axis] is None else patches.shape[axis] for axis in (1, 2))
    return height, width
