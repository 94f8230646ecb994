"""GridPool against a slow loop over the cells, at sizes that are known and sizes that are not."""

import math

import hypothesis
import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies

from tfcontrastive.config import InputError
from tfcontrastive.encoders import GridPool


def slowly(x, cells):
    height, width = x.shape[1:3]
    means = []
    for row in range(cells):
        for column in range(cells):
            top, left = row * height // cells, column * width // cells
            bottom, right = math.ceil((row + 1) * height / cells), math.ceil((column + 1) * width / cells)
            means.append(x[:, top:bottom, left:right].mean(axis=(1, 2)))
    return np.concatenate(means, axis=-1)


SIDES = strategies.integers(1, 9)


@hypothesis.given(SIDES, SIDES, strategies.integers(1, 5))
@hypothesis.settings(max_examples=30, deadline=None)
def test_is_the_mean_of_each_cell(height, width, cells):
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    np.testing.assert_allclose(GridPool(cells)(x), slowly(x, cells), rtol=1e-5, atol=1e-6)


def test_any_size_gives_features_of_one_length():
    images = keras.Input([None, None, 2])
    network = keras.Model(images, GridPool(2)(images))
    assert network.output_shape == (None, 8)
    for size in (1, 3, 4):
        x = np.random.default_rng(0).normal(size=(2, size, size + 1, 2)).astype(np.float32)
        np.testing.assert_allclose(network(x), slowly(x, 2), rtol=1e-5, atol=1e-6)


def test_means_of_bfloat16_are_taken_in_float32():
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 8, 8, 3)), tf.bfloat16)
    y = GridPool(2, dtype="float32")(x)
    assert y.dtype == tf.float32
    np.testing.assert_allclose(y, slowly(x.numpy().astype(np.float32), 2), rtol=1e-5, atol=1e-6)


def test_no_cell_is_refused():
    with pytest.raises(InputError, match=r"`cells` must be >= 1. Received: cells=0"):
        GridPool(0)
