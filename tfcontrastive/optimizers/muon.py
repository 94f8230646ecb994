"""Muon: momentum whose matrix is made orthogonal, for kernels; AdamW for all other weights."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.optimizers.exclusions import SUPERVISED_HEAD, TOKEN, matches
from tfcontrastive.optimizers.weight_decay import AdamW

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients that bring singular values near 1 fastest, to some .7 to 1.2 of it."""

RMS = 0.2
"""Root mean square of an update at a learning rate of 1, about that of AdamW's."""


def orthogonalized(matrix: tf.Tensor, *, steps: int = 5) -> tf.Tensor:
    r"""The nearest matrix with orthonormal rows or columns, approximately: $U V^\top$ of $X = U S V^\top$.

    Newton and Schulz's iteration, of degree five, on $X / |X|_F$:

    $$ X \leftarrow (a I + b G + c G^2) X, \quad G = X X^\top $$

    All factors commute with G, so that only G, as large as the shorter side, is iterated, and X multiplied at the end.

    Args:
        matrix: `[M, N]`.
        steps: of the iteration; five bring singular values of more than a few thousandths of the largest to .7 to 1.2.

    Returns:
        `[M, N]`; zeros where the matrix is.

    Examples:
        >>> print(tf.linalg.svd(orthogonalized(tf.constant([[3.0, 1.0], [0.0, 2.0]])), compute_uv=False).numpy().round(1))
        [0.8 0.8]

    Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024).
    """
    a, b, c = NEWTON_SCHULZ
    high = matrix.shape[0] > matrix.shape[1]
    x = tf.math.divide_no_nan(matrix, tf.norm(matrix))
    gram = tf.matmul(x, x, transpose_a=high, transpose_b=not high)
    identity = tf.eye(gram.shape[0], dtype=x.dtype)
    product = identity
    for step in range(steps):
        factor = a * identity + b * gram + c * tf.matmul(gram, gram)
        product = tf.matmul(factor, product) if step else factor
        if step < steps - 1:
            gram = tf.matmul(tf.matmul(factor, gram), factor)
    return tf.matmul(x, product) if high else tf.matmul(product, x)


@keras.saving.register_keras_serializable("tfcontrastive")
class Muon(AdamW):
    r"""Muon for the kernels of dense and convolution layers, `AdamW` for the other weights, at one learning rate.

    $$ m \leftarrow \mu m + (1 - \mu) g, \quad u = \mathrm{orthogonalized}(\mu m + (1 - \mu) g), \quad
       w \leftarrow w - \gamma \left(0.2 \sqrt{\max(M, N)} \; u + \lambda w\right) $$

    The kernel of a convolution is the matrix `[height * width * channels in, channels out]`. An update has the root mean
    square of AdamW's, so that rates and decay carry over. Class tokens, positions, embeddings and the supervised head or
    probe are AdamW's, as everything of one dimension is, and depthwise kernels, whose channels are filters of their own.

    Args:
        learning_rate: a float, a schedule or a callable.
        weight_decay: decoupled, as AdamW's.
        momentum: mu, in [0, 1).
        **kwargs: of `AdamW`.

    Raises:
        InputError: for a momentum out of range.

    Examples:
        >>> model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
        >>> model.compile(optimizer=Muon(learning_rate=0.004, weight_decay=1e-4), loss="mse")

    Source: Jordan et al., as above; the scale: Liu et al., "Muon is scalable for LLM training", arXiv 2502.16982. Keras'
    own leaves convolutions to AdamW.
    """

    def __init__(self, learning_rate: Any = 0.001, weight_decay: float = 0.0, momentum: float = 0.95, **kwargs: Any):
        if not 0 <= momentum < 1:
            raise InputError(f"`momentum` must be in [0, 1). Received: momentum={momentum!r}.")
        super().__init__(learning_rate=learning_rate, weight_decay=weight_decay, **kwargs)
        self.momentum = momentum

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._orthogonal = tuple(_is_kernel(variable) for variable in variables)

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        if not self._orthogonal[index]:
            super().update_step(gradient, variable, learning_rate)
            return
        gradient, held = tf.cast(gradient, variable.dtype), self._momentums[index]
        momentum = held + (1 - self.momentum) * (gradient - held)
        ahead = momentum + (1 - self.momentum) * (gradient - momentum)
        matrix = tf.reshape(ahead, [-1, gradient.shape[-1]])
        scale = tf.cast(learning_rate, variable.dtype) * RMS * math.sqrt(max(matrix.shape))
        self.assign(held, momentum)
        self.assign_sub(variable, tf.reshape(scale * orthogonalized(matrix), gradient.shape))

    def get_config(self):
        return {**super().get_config(), "momentum": self.momentum}


def orthogonalizing_flops(variables: Iterable[Any], *, steps: int = 5) -> float:
    """Floating-point operations of `orthogonalized` for the kernels among variables, in one step of `Muon`."""
    shapes = [(math.prod(kernel.shape[:-1]), kernel.shape[-1]) for kernel in variables if _is_kernel(kernel)]
    products = steps + (steps - 1) + 2 * (steps - 1)  # of the short side's square matrices
    return sum(4 * min(shape) ** 2 * max(shape) + 2 * products * min(shape) ** 3 for shape in shapes)


def _is_kernel(variable) -> bool:
    """Whether it is a matrix, and neither a row nor a column, as depthwise kernels are."""
    rows, columns = math.prod(variable.shape[:-1]), math.prod(variable.shape[-1:])
    return min(rows, columns) > 1 and not matches((TOKEN, SUPERVISED_HEAD, "embedding"), variable)
