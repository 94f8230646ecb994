"""The means of a map over the cells of a grid."""

from __future__ import annotations

import keras
import tensorflow as tf

from tfcontrastive.config import InputError


@keras.saving.register_keras_serializable("tfcontrastive")
class GridPool(keras.layers.Layer):
    r"""The means of a map `[B, H, W, C]` over n x n cells that cover it, `[B, n * n * C]`; n = 1 is the global mean.

    $$ y_{ij} = \text{mean of } x_{hw} \text{ with } \lfloor iH/n \rfloor \le h < \lceil (i+1)H/n \rceil, \quad
       \lfloor jW/n \rfloor \le w < \lceil (j+1)W/n \rceil $$

    Cells are of equal size where n divides H and W; else neighbours share a row or column, and where there are fewer rows
    than cells some cells are equal. So the length of the features does not depend on the size of the image.

    Args:
        cells: n >= 1, along each side.
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: `[B, H, W, C]`, H and W at least 1.

    Raises:
        InputError: fewer than one cell.

    Examples:
        >>> GridPool(2)(tf.reshape(tf.range(16.0), [1, 4, 4, 1])).numpy().tolist()
        [[2.5, 4.5, 10.5, 12.5]]

    Source: the cells are those of PyTorch's AdaptiveAvgPool2d.
    """

    def __init__(self, cells: int, **kwargs):
        super().__init__(**kwargs)
        if cells < 1:
            raise InputError(f"`cells` must be >= 1. Received: cells={cells}.")
        self.cells = cells

    def call(self, inputs):
        means = self._means(self._means(inputs, axis=1), axis=2)
        return tf.reshape(means, [-1, self.cells**2 * inputs.shape[-1]])

    def _means(self, x, axis):
        """Along one axis, by slices: of them every converter of exports knows the size."""
        size = tf.shape(x)[axis] if x.shape[axis] is None else x.shape[axis]
        bounds = [(cell * size // self.cells, -(-(cell + 1) * size // self.cells)) for cell in range(self.cells)]
        slices = [x[:, low:high] if axis == 1 else x[:, :, low:high] for low, high in bounds]
        return tf.stack([tf.reduce_mean(one, axis=axis) for one in slices], axis=axis)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.cells**2 * input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "cells": self.cells}
