"""CIE L*a*b*: lightness on one axis, color on the two others."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment.checks import float_images

# Linear sRGB to X, Y and Z, and the white of D65 seen at 2 degrees (IEC 61966-2-1).
_XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
_WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(images: tf.Tensor) -> tf.Tensor:
    """sRGB to CIE L*a*b* under D65.

    With (X, Y, Z) over those of white, f(t) = cbrt(t) above .008856 and 7.787 t + 16/116 below:
    `L = 116 f(Y) - 16`, `a = 500 (f(X) - f(Y))`, `b = 200 (f(Y) - f(Z))`.

    Args:
        images: float `[..., 3]` in [0, 1].

    Returns:
        the same shape: L in [0, 100], a in [-86.2, 98.3] (green to red), b in [-107.9, 94.5] (blue to yellow).

    Examples:
        >>> rgb_to_lab(tf.constant([[[1.0, 0.0, 0.0]]])).numpy().round(1).ravel()
        array([53.2, 80.1, 67.2], dtype=float32)

    Source: CIE 15 (2004); IEC 61966-2-1 for sRGB.
    """
    images = float_images(images)
    dark = images <= 0.04045
    curved = ((tf.where(dark, tf.ones_like(images), images) + 0.055) / 1.055) ** 2.4
    linear = tf.where(dark, images / 12.92, curved)
    matrix = tf.constant([[row[c] / _WHITE[i] for i, row in enumerate(_XYZ)] for c in range(3)], linear.dtype)
    xyz = tf.tensordot(linear, matrix, axes=1)
    bright = xyz > 0.008856
    root = tf.where(bright, xyz, tf.ones_like(xyz)) ** (1 / 3)
    x, y, z = tf.unstack(tf.where(bright, root, 7.787 * xyz + 16 / 116), axis=-1)
    return tf.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
