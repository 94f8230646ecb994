"""Random numbers as a pure function of one seed row per image.

`tf.random.stateless_uniform` takes one seed for a whole tensor. Here every image has its own, so that its augmentation
does not depend on which batch, replica or position it landed in. The generator is a hash of (row, name, index).
"""

from __future__ import annotations

import zlib

import tensorflow as tf

_GOLDEN = 0x9E3779B9  # 2**32 / golden ratio: spreads consecutive indices over the 32 bits


def uniform(seeds: tf.Tensor, name: str, count: int) -> tf.Tensor:
    """Uniform numbers in [0, 1), a pure function of each seed row, of `name` and of the index.

    `u[b, i] = mix(mix(mix(salt ^ seeds[b, 0]) ^ seeds[b, 1]) + i * golden) / 2**32`, where `mix` is a bijective
    32-bit integer hash and `salt` is the CRC-32 of `name`. Only `uint32` tensor operations: it compiles under XLA.

    Args:
        seeds: integers `[B, 2]`, one row per image and view.
        name: what the numbers are for; different names give independent numbers from the same row.
        count: how many numbers per row, >= 1.

    Returns:
        float32 `[B, count]`, with 24 random bits each.

    Examples:
        >>> u = uniform(tf.constant([[1, 2], [1, 3]]), "blur", 4)
        >>> u.shape
        TensorShape([2, 4])

    Source: counter-based generators, Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011);
    the mixing constants are C. Wellons' `lowbias32`.
    """
    words = tf.bitcast(tf.cast(seeds, tf.int32), tf.uint32)
    salt = tf.constant(zlib.crc32(name.encode()), tf.uint32)
    state = _mix(_mix(words[:, 0] ^ salt) ^ words[:, 1])
    index = tf.constant([(_GOLDEN * (i + 1)) % 2**32 for i in range(count)], tf.uint32)
    bits = _mix(state[:, None] + index[None, :])
    # 24 bits fit a float32 exactly, and an int32 on the way, which converts faster than uint32.
    return tf.cast(tf.cast(_shift(bits, 8), tf.int32), tf.float32) * 2.0**-24


def bernoulli(seeds: tf.Tensor, name: str, probability: float) -> tf.Tensor:
    """True with the given probability, for each seed row.

    Args:
        seeds: integers `[B, 2]`.
        name: what the draw is for, as in `uniform`.
        probability: in [0, 1].

    Returns:
        bool `[B]`.

    Examples:
        >>> bernoulli(tf.constant([[1, 2], [1, 3]]), "flip", 1.0).numpy()
        array([ True,  True])
    """
    return uniform(seeds, name, 1)[:, 0] < probability


def row_seeds(seed: int, step: tf.Tensor, rows: tf.Tensor, num_views: int) -> tf.Tensor:
    """Seed rows for the views of the images of one training step.

    The first word is a hash of (seed, step), the second a hash of (row, view), each bijective in its last argument.

    Args:
        seed: the run's seed.
        step: integer scalar, the training step.
        rows: integers `[B]`, what tells the images of a step apart: their position in the global batch.
        num_views: views per image, >= 1.

    Returns:
        int32 `[B, num_views, 2]`.

    Examples:
        >>> row_seeds(0, tf.constant(7), tf.range(4), num_views=2).shape
        TensorShape([4, 2, 2])
    """
    step, rows = (tf.bitcast(tf.cast(x, tf.int32), tf.uint32) for x in (step, rows))
    run = _mix(_mix(tf.constant(seed % 2**32, tf.uint32) ^ tf.constant(_GOLDEN, tf.uint32)) ^ step)
    views = tf.constant([(_GOLDEN * (i + 1)) % 2**32 for i in range(num_views)], tf.uint32)
    image_view = _mix(_mix(rows)[:, None] ^ views[None, :])
    words = tf.stack([tf.broadcast_to(run, tf.shape(image_view)), image_view], axis=-1)
    return tf.bitcast(words, tf.int32)


def _mix(x: tf.Tensor) -> tf.Tensor:
    x = (x ^ _shift(x, 16)) * tf.constant(0x7FEB352D, tf.uint32)
    x = (x ^ _shift(x, 15)) * tf.constant(0x846CA68B, tf.uint32)
    return x ^ _shift(x, 16)


def _shift(x: tf.Tensor, bits: int) -> tf.Tensor:
    return tf.bitwise.right_shift(x, tf.constant(bits, tf.uint32))
