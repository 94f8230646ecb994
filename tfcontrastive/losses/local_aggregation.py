"""Local aggregation: of an embedding's nearest memories, those of its own clusters come closer."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_positive, check_rank, check_width, integers, l2_normalize

_HIDDEN = -1e30  # the logit of an entry that is left out


def local_aggregation(
    embeddings: tf.Tensor,
    bank: tf.Tensor,
    indices: tf.Tensor,
    clusters: tf.Tensor,
    *,
    temperature: float,
    num_neighbours: int,
    epsilon: float = 1e-7,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The likelihood of an image's close neighbours among its background neighbours, both of them memories.

    $$ L = -\frac{1}{B} \sum_b \log \left( \frac{\sum_{j \in C_{i_b} \cap B_b} \exp(\langle f_j, v_b \rangle / T)}
           {\sum_{j \in B_b} \exp(\langle f_j, v_b \rangle / T)} + \epsilon \right) $$

    The background neighbours $B_b$ are the k entries of the bank that are closest to v, most often its own among them; the
    close ones $C_i$ share a cluster with image i in one or more of H clusterings. All rows are scaled to unit length. No
    gradient flows to the bank.

    Args:
        embeddings: `[B, D]`, any float dtype. Computed in float32.
        bank: `[n, D]`, one row for each training image.
        indices: `[B]`, integers in [0, n): which images these are.
        clusters: `[H, n]`, integers: the cluster of each entry in each clustering.
        temperature: T > 0; 0.07 in the paper.
        num_neighbours: k, from 1 to n; 4096 in the paper.
        epsilon: as the authors' code has it: where no close neighbour is in the background, -log of it, without gradient.
        with_metrics: return the metrics too.

    Returns:
        A scalar, the mean over this replica's rows; with `with_metrics`, (loss, {"close_neighbours"}), their mean number.

    Raises:
        InputError: for a temperature that is not positive, more neighbours than entries, or shapes or dtypes that do not
            fit.

    Examples:
        >>> z = tf.eye(3)
        >>> loss = local_aggregation(z[:1], z, [0], [[0, 0, 1]], temperature=1.0, num_neighbours=3)
        >>> print(f"{loss:.4f}")  # log((e + 2) / (e + 1))
        0.2382

    Source: Zhuang, Zhai and Yamins, "Local Aggregation for Unsupervised Learning of Visual Embeddings", arXiv 1903.12355,
    equations 3 to 5.
    """
    check_positive(temperature=temperature)
    embeddings, bank = as_floats(embeddings=embeddings, bank=bank)
    check_rank("embeddings", embeddings, 2)
    check_width("bank", bank, embeddings)
    indices, clusters = integers("indices", indices, 1), integers("clusters", clusters, 2)
    size = bank.shape[0]
    if not clusters.shape[1:].is_compatible_with([size]):
        raise InputError(
            f"`clusters` must have the shape (H, {size}). Received: clusters.shape={tuple(clusters.shape)}."
        )
    if not 1 <= num_neighbours <= size:
        raise InputError(
            f"`num_neighbours` must be from 1 to {size}, the bank's size. Received: num_neighbours={num_neighbours!r}."
        )
    bank = tf.stop_gradient(l2_normalize(bank))
    similarity = tf.matmul(l2_normalize(embeddings) / temperature, bank, transpose_b=True)
    logits, neighbours = tf.math.top_k(similarity, num_neighbours, sorted=False)
    own = tf.gather(clusters, indices, axis=1)
    close = tf.reduce_any(tf.gather(clusters, neighbours, axis=1) == own[:, :, None], axis=0)
    among = tf.where(close, logits, tf.constant(_HIDDEN, logits.dtype))
    share = tf.exp(tf.reduce_logsumexp(among, axis=1) - tf.reduce_logsumexp(logits, axis=1))
    loss = -tf.reduce_mean(tf.math.log(share + epsilon))
    number = tf.reduce_mean(tf.reduce_sum(tf.cast(close, logits.dtype), axis=1))
    return (loss, {"close_neighbours": number}) if with_metrics else loss
