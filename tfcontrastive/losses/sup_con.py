"""The supervised contrastive loss (SupCon)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_positive, check_rank, l2_normalize, row_count
from tfcontrastive.losses.row_softmax import row_softmax


def sup_con(embeddings: tf.Tensor, labels: tf.Tensor, *, temperature: float) -> tf.Tensor:
    r"""Contrast where every view of every image of the same class is a positive: the paper's L_out.

    $$ L = \frac{1}{BV} \sum_i \frac{-1}{|P(i)|} \sum_{p \in P(i)} \log
           \frac{\exp(\langle z_i, z_p \rangle / T)}{\sum_{a \ne i} \exp(\langle z_i, z_a \rangle / T)} $$

    where P(i) holds the other rows with the label of i. The mean over the positives is outside the logarithm. All rows
    are scaled to unit length. The paper's factor T / T_base is 1 here.

    Under a strategy the other rows come from every replica, with gradient; the loss of a replica is the mean over its
    own rows.

    Args:
        embeddings: `[B, V, D]`, any float dtype, V views of each image. Computed in float32.
        labels: `[B]`, integers. A negative label marks an unlabelled image, whose positives are its own other views.
        temperature: T > 0; 0.1 in the paper.

    Returns:
        A scalar. A row without positives (one view and no other image of its class) adds 0 to the mean.

    Raises:
        InputError: for a temperature that is not positive, or shapes or dtypes that do not fit.

    Examples:
        >>> z = tf.constant([[[1.0, 0.0]], [[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 1.0]]])
        >>> print(f"{sup_con(z, tf.constant([0, 0, 1, 1]), temperature=1.0):.4f}")  # log(1 + 2 / e)
        0.5514

    Source: Khosla et al., "Supervised Contrastive Learning", arXiv 2004.11362, equation 2.
    """
    check_positive(temperature=temperature)
    (z,) = as_floats(embeddings=embeddings)
    check_rank("embeddings", z, 3)
    labels = _check_labels(labels, z)
    batch, views, width = row_count(z), z.shape[1], z.shape[2]
    z = l2_normalize(z)
    keys = tf.reshape(distribute.all_gather(z), [-1, width])
    queries = tf.reshape(z, [-1, width]) / temperature
    own = distribute.replica_id() * batch * views + tf.range(batch * views)

    classes = tf.repeat(_class_ids(labels), views)
    own_class = tf.gather(classes, own)
    rows = row_count(keys)
    # The mean logit of the positives needs their sum only, so no matrix of label pairs is formed.
    sums = tf.gather(tf.math.unsorted_segment_sum(keys, classes, rows), own_class) - tf.reshape(z, [-1, width])
    ones = tf.ones_like(classes, z.dtype)
    positives = tf.gather(tf.math.unsorted_segment_sum(ones, classes, rows), own_class) - 1
    mean_logit = tf.reduce_sum(queries * sums, axis=1) / tf.maximum(positives, 1)
    log_sum_exp = row_softmax(queries, keys, own).log_sum_exp
    return tf.reduce_mean(tf.where(positives > 0, log_sum_exp - mean_logit, 0))


def _check_labels(labels, z):
    labels = tf.convert_to_tensor(labels)
    if not labels.dtype.is_integer:
        raise InputError(f"`labels` must hold integers. Received: dtype={labels.dtype.name}.")
    if not labels.shape.is_compatible_with(z.shape[:1]):
        raise InputError(f"`labels` must have shape {tuple(z.shape[:1])}. Received: shape={tuple(labels.shape)}.")
    return tf.cast(labels, tf.int32)


def _class_ids(labels):
    """Numbers below the count of images, over all replicas, that are equal for images of one class."""
    labels = distribute.all_gather(labels)
    alone = -1 - tf.range(row_count(labels))
    labels = tf.where(labels < 0, alone, labels)
    return tf.searchsorted(tf.sort(labels), labels)
