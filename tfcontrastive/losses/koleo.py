"""KoLeo: a regularizer that spreads embeddings out, each from its nearest neighbour (DINOv2)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_rank, row_count

_SMALL = 1e-8  # the authors' code adds it to differences and to distances


def koleo(x: tf.Tensor) -> tf.Tensor:
    r"""The mean negative logarithm of the distance to the nearest neighbour, of rows of length 1.

    $$ L = -\frac{1}{B} \sum_i \log \min_{j \ne i} | x_i - x_j | $$

    an estimate of the negative entropy of the embeddings. The gradient flows to both rows of a pair.

    Under a strategy the neighbour is sought among the rows of all replicas, with gradient; the authors' code seeks it
    among a replica's own, hence in another batch for each number of replicas.

    Args:
        x: `[B, D]`, any float dtype, embeddings of one view. Computed in float32.

    Returns:
        A scalar, the mean over this replica's rows; equal rows give 18 at most.

    Raises:
        InputError: for less than two rows, over all replicas.

    Examples:
        >>> print(f"{koleo(tf.eye(3)):.4f}")  # -log(sqrt(2))
        -0.3466

    Sources: Sablayrolles et al., "Spreading vectors for similarity search", arXiv 1806.03198; Oquab et al., "DINOv2", arXiv
    2304.07193.
    """
    (x,) = as_floats(x=x)
    check_rank("x", x, 2)
    x = tf.math.l2_normalize(x, axis=1, epsilon=_SMALL**2)
    every = distribute.all_gather(x)
    if every.shape[0] == 1:
        raise InputError("`x` must have two rows or more, over all replicas. Received: one.")
    own = distribute.replica_id() * row_count(x) + tf.range(row_count(x))
    itself = own[:, None] == tf.range(row_count(every))
    cosines = tf.where(itself, tf.constant(-2, x.dtype), tf.matmul(x, every, transpose_b=True))
    # A product, as the collective takes no sparse gradient.
    nearest = tf.matmul(tf.one_hot(tf.argmax(cosines, axis=1), tf.shape(every)[0], dtype=x.dtype), every)
    distances = tf.norm(x - nearest + _SMALL, axis=1)
    return -tf.reduce_mean(tf.math.log(distances + _SMALL))
