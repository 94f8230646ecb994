"""The losses of Deep InfoMax: the features of an image against those of its places."""

from __future__ import annotations

import math
from typing import Literal

import tensorflow as tf

from tfcontrastive.config import InputError, unknown
from tfcontrastive.losses.local_global import all_scores, local_info_nce

MEASURES = ("jsd", "info_nce")


def deep_infomax(
    features: tf.Tensor, local_features: tf.Tensor, *, measure: Literal["jsd", "info_nce"] = "jsd"
) -> tf.Tensor:
    r"""A bound, negative, of the mutual information of an image's features and those at each of its L places.

    With the scores $u_{ijl} = \langle g_i, l_{jl} \rangle$, "jsd" is the Jensen-Shannon estimate

    $$ L = \mathrm{mean}_{i \ne j,\, l} \, \log(1 + e^{u_{ijl}})
         + \mathrm{mean}_{i,\, l} \, \log(1 + e^{-u_{iil}}) - 2 \log 2 $$

    and "info_nce" tells each own place from all places of the other images:

    $$ L = -\mathrm{mean}_{i,\, l} \, \log \frac{\exp(u_{iil})}{\exp(u_{iil}) + \sum_{j \ne i,\, m} \exp(u_{ijm})} $$

    Under a strategy the other images are those of all replicas, with gradient; a replica takes the mean over its own.

    Args:
        features: `[B, D]`, any float dtype, of whole images. Computed in float32.
        local_features: `[B, L, D]`, of the L places of the same images.
        measure: "jsd" or "info_nce".

    Returns:
        A scalar; "jsd" of scores that are all 0 is 0.

    Raises:
        InputError: for another measure, shapes that do not fit, or one image alone.

    Examples:
        >>> features = tf.eye(2)
        >>> print(f"{deep_infomax(features, features[:, None], measure='info_nce'):.4f}")  # log(1 + 1 / e)
        0.3133

    The authors' code gives the own image a score of -10 in the denominator of "info_nce" where it is left out here.
    Source: Hjelm et al., "Learning deep representations by mutual information estimation and maximization", arXiv
    1808.06670, equations 4 and 5.
    """
    if measure not in MEASURES:
        raise InputError(f"`measure` {unknown(measure, MEASURES)}")
    scores, own = all_scores(features, local_features)
    if measure == "info_nce":
        return local_info_nce(scores, own)
    positive = tf.cast(own, scores.dtype)
    places = tf.cast(tf.shape(scores)[2], scores.dtype)

    def mean(values, weights):
        return tf.reduce_sum(weights[:, :, None] * values) / (tf.reduce_sum(weights) * places)

    others, same = mean(tf.nn.softplus(scores), 1 - positive), mean(tf.nn.softplus(-scores), positive)
    return others + same - 2 * math.log(2)
