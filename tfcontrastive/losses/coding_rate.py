"""The coding rate of embeddings: how much room they take (EMP-SSL)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.losses.common import as_floats, check_positive, check_rank, l2_normalize


def total_coding_rate(z: tf.Tensor, *, epsilon_squared: float = 0.2) -> tf.Tensor:
    r"""The rate at which rows of length 1 are coded up to a distortion: large where they span many directions.

    $$ R = \frac{1}{2} \log\det\left( I + \frac{D}{B \epsilon^2} Z^\top Z \right) $$

    It is to be maximised. Under a strategy the rows are those of all replicas, with gradient, and every replica returns
    the same.

    Args:
        z: `[B, D]`, any float dtype, embeddings of one view. Computed in float32.
        epsilon_squared: the distortion, > 0; 0.2 in EMP-SSL.

    Returns:
        A scalar >= 0, in nats.

    Raises:
        InputError: for a distortion that is not positive.

    Examples:
        >>> print(f"{total_coding_rate(tf.eye(2), epsilon_squared=1.0):.4f}")  # log(1 + 1): two directions
        0.6931
        >>> print(f"{total_coding_rate(tf.ones([2, 2]), epsilon_squared=1.0):.4f}")  # log(3) / 2: one
        0.5493

    Sources: Yu et al., "Learning Diverse and Discriminative Representations via the Principle of Maximal Coding Rate
    Reduction", arXiv 2006.08558; Tong et al., "EMP-SSL", arXiv 2304.03977.
    """
    check_positive(epsilon_squared=epsilon_squared)
    (z,) = as_floats(z=z)
    check_rank("z", z, 2)
    z, width = l2_normalize(z), z.shape[1]
    rows = tf.cast(tf.shape(z)[0], z.dtype)
    products = distribute.all_mean(tf.matmul(z, z, transpose_a=True) / rows)
    return tf.linalg.logdet(tf.eye(width, dtype=z.dtype) + width / epsilon_squared * products) / 2
