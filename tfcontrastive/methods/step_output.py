"""StepOutput: what a method's objective gives."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class StepOutput(NamedTuple):
    """What `ContrastiveModel.views_loss` returns; a plain tuple of the three does as well.

    Attributes:
        loss: a scalar, the mean over this replica's rows.
        metrics: `{name: scalar}`, one for each of the method's `metric_names`.
        features: `[n * B, F]` of n of the views, one after another, that the probe is to see.
    """

    loss: tf.Tensor
    metrics: dict[str, tf.Tensor]
    features: tf.Tensor
