"""Refusals inside the graph: INVALID_ARGUMENT with a message that names the problem, wherever the model runs."""

from __future__ import annotations

import tensorflow as tf

# Pixels lie in [0, 1]. Far beyond that, someone forgot to divide by 255, and the vector would be silently wrong.
_FAR_OUTSIDE = 16.0


def require(condition: tf.Tensor, tensor: tf.Tensor, template: str, *values: tf.Tensor) -> tf.Tensor:
    """The tensor, once the condition holds; else an error of the template, with values in place of its `{}`.

    Examples:
        >>> require(tf.constant(True), tf.constant(3), "`size` must be > 0. Received: {}", tf.constant(3)).numpy().item()
        3
    """
    check = tf.debugging.Assert(condition, [tf.strings.format(template, values)])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.identity(tensor)


def checked_batch(tensor: tf.Tensor, name: str) -> tf.Tensor:
    """The tensor `[B, ...]`, if its rank and sides are those of its static shape, and none is 0.

    Sessions feed tensors of any shape, whatever the signature says.
    """
    # What the static shape tells is folded into constants before a graph runs: rank and sides are compared as parts of
    # one vector, of which B is never known. XLA knows all of it and folds the message away, which it cannot compile.
    shape, end = tf.shape(tensor), -tf.ones([len(tensor.shape) + 1], tf.int32)
    sides = tf.constant([*(side or 0 for side in tensor.shape), -1])  # 0 stands for any
    known = tf.concat([shape, end], axis=0)[: len(tensor.shape) + 1]
    fits = tf.reduce_all(tf.where(sides != 0, known == sides, known > 0))
    wanted = ", ".join("any" if side is None else str(side) for side in tensor.shape)
    return require(fits, tensor, f"`{name}` must have the shape [{wanted}] with no side 0. Received: {{}}", shape)


def checked_images(images: tf.Tensor) -> tf.Tensor:
    """The images `[B, H, W, C]`, if there are any and their pixels are finite and not far outside [0, 1]."""
    images = checked_batch(images, "images")
    return require(
        tf.reduce_all(tf.abs(images) <= _FAR_OUTSIDE),
        images,
        "`images` must have finite pixels in [0, 1] (divide 8-bit pixels by 255). "
        "Received: NaN, infinity or far larger values",
    )
