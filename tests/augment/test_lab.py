"""Lab against the formulas of the CIE, written out for one color, and against colors of known Lab."""

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.augment.lab import rgb_to_lab


def slow(color):
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    matrix = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    xyz = [sum(m * c for m, c in zip(row, linear, strict=True)) for row in matrix]
    ratios = [value / white for value, white in zip(xyz, (0.95047, 1.0, 1.08883), strict=True)]
    x, y, z = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in ratios)
    return [116 * y - 16, 500 * (x - y), 200 * (y - z)]


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 2e-3)])
def test_every_color_is_that_of_the_formulas(dtype, tolerance):
    dark = np.random.default_rng(0).random((20, 3)) * 0.06
    colors = np.concatenate([dark, np.random.default_rng(1).random((60, 3)), np.eye(3), np.zeros((1, 3))]).astype(dtype)
    found = tf.function(rgb_to_lab)(tf.constant(colors[None, None]))
    assert found.dtype == dtype
    np.testing.assert_allclose(found[0, 0], [slow(color) for color in colors.astype(float)], atol=tolerance)


@pytest.mark.parametrize(
    ("color", "lab"),
    [
        ((1, 1, 1), (100, 0, 0)),
        ((1, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 1, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 1), (32.30, 79.19, -107.86)),
    ],
)
def test_known_colors(color, lab):
    np.testing.assert_allclose(rgb_to_lab(tf.constant([[[color]]], tf.float64))[0, 0, 0], lab, atol=0.02)
