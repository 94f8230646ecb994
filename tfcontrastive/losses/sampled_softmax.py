"""InfoNCE against negatives that each embedding draws from a bank of its own (PIRL, CMC)."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.losses.common import as_floats, check_positive, check_rank, check_width, l2_normalize


def instance_info_nce(
    embeddings: tf.Tensor, bank: tf.Tensor, indices: tf.Tensor, noise: tf.Tensor, *, temperature: float
) -> tf.Tensor:
    r"""The cross entropy of each image's own entry in the bank among m that were drawn for it.

    $$ L = \frac{1}{B} \sum_b -\log \frac{\exp(\langle v_b, f_{i_b} \rangle / T)}
           {\exp(\langle v_b, f_{i_b} \rangle / T) + \sum_{j=1}^{m} \exp(\langle v_b, f_{i'_{bj}} \rangle / T)} $$

    All rows are scaled to unit length. No gradient flows to the bank. A draw may be the image's own entry, which then counts
    twice, as in the authors' code.

    Args:
        embeddings: `[B, D]`, any float dtype. Computed in float32.
        bank: `[n, D]`, one row for each training image.
        indices: `[B]`, integers in [0, n): which images these are.
        noise: `[B, m]`, integers drawn uniformly from [0, n).
        temperature: T > 0; 0.07 in PIRL and CMC.

    Returns:
        A scalar >= 0, the mean over this replica's rows.

    Raises:
        InputError: for a temperature that is not positive or shapes or dtypes that do not fit.

    Examples:
        >>> z = tf.eye(2)
        >>> print(f"{instance_info_nce(z[:1], z, [0], [[1]], temperature=1.0):.4f}")  # log(1 + 1 / e)
        0.3133

    Sources: Misra and van der Maaten, "Self-Supervised Learning of Pretext-Invariant Representations", arXiv 1912.01991;
    Tian, Krishnan and Isola, "Contrastive Multiview Coding", arXiv 1906.05849.
    """
    check_positive(temperature=temperature)
    queries, bank = as_floats(embeddings=embeddings, bank=bank)
    check_rank("embeddings", queries, 2)
    check_width("bank", bank, queries)
    places = {"indices": tf.convert_to_tensor(indices), "noise": tf.convert_to_tensor(noise)}
    for rank, (name, value) in enumerate(places.items(), 1):
        if not value.dtype.is_integer:
            raise InputError(f"`{name}` must hold integers. Received: dtype={value.dtype.name}.")
        check_rank(name, value, rank)
    queries, bank = l2_normalize(queries) / temperature, tf.stop_gradient(l2_normalize(bank))
    positive = tf.einsum("bd,bd->b", queries, tf.gather(bank, places["indices"]))
    negative = tf.einsum("bd,bmd->bm", queries, tf.gather(bank, places["noise"]))
    every = tf.concat([positive[:, None], negative], axis=1)
    return tf.reduce_mean(tf.reduce_logsumexp(every, axis=1) - positive)
