"""The loss of AMDIM: one view's features against the places of another view."""

from __future__ import annotations

import math

import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.losses.common import check_positive
from tfcontrastive.losses.local_global import all_scores, local_info_nce


def amdim(
    features: tf.Tensor,
    local_features: tf.Tensor,
    *,
    clip: float = 20.0,
    score_penalty: float = 0.0,
    with_metrics: bool = False,
) -> tf.Tensor | tuple[tf.Tensor, dict[str, tf.Tensor]]:
    r"""The cross entropy of each place of an image's other view among all places of the other images.

    $$ L = -\mathrm{mean}_{i,\, l} \, \log
           \frac{\exp(\sigma(u_{iil}))}{\exp(\sigma(u_{iil})) + \sum_{j \ne i,\, m} \exp(\sigma(u_{ijm}))}
           + \lambda \, \mathrm{mean}_{ijl} \, u_{ijl}^2, \quad
       u_{ijl} = \frac{\langle g_i, l_{jl} \rangle}{\sqrt{D}}, \quad \sigma(u) = c \tanh(u / c) $$

    Features are not normalised: the soft clip and the penalty, taken of the scores before it, bound them. The other
    places of an image are no negatives of each other. This is one pair of scales in one direction: AMDIM adds up
    three pairs, each the mean of both directions between two views.

    Under a strategy the other images are those of all replicas, with gradient; a replica takes the mean over its own.

    Args:
        features: `[B, D]`, any float dtype, of one place, or the whole, of one view. Computed in float32.
        local_features: `[B, L, D]`, of the L places of another view of the same images.
        clip: c > 0.
        score_penalty: lambda >= 0; 0.05 in the authors' code, which halves the sum of six such penalties.
        with_metrics: return the metrics too.

    Returns:
        A scalar; with `with_metrics`, (loss, {"mean_square_score"}).

    Raises:
        InputError: for a clip that is not positive, a negative penalty, shapes that do not fit, or one image alone.

    Examples:
        >>> features = 2.0 * tf.eye(4)
        >>> print(f"{amdim(features, features[:, None]):.2f}")  # log(1 + 3 / e^2), but for the clip
        0.34

    Source: Bachman, Hjelm and Buchwalter, "Learning Representations by Maximizing Mutual Information Across Views", arXiv
    1906.00910, sections 3.2 to 3.4.
    """
    check_positive(clip=clip)
    if not isinstance(score_penalty, tf.Tensor) and not score_penalty >= 0:
        raise InputError(f"`score_penalty` must be >= 0. Received: score_penalty={score_penalty!r}.")
    scores, own = all_scores(features, local_features)
    scores /= math.sqrt(features.shape[1])
    square = tf.reduce_mean(tf.square(scores))
    loss = local_info_nce(clip * tf.tanh(scores / clip), own) + score_penalty * square
    return (loss, {"mean_square_score": tf.stop_gradient(square)}) if with_metrics else loss
