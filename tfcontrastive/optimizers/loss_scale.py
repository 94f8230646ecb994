"""The loss scale that float16 needs."""

from __future__ import annotations

import keras


@keras.saving.register_keras_serializable("tfcontrastive")
class LossScale(keras.optimizers.LossScaleOptimizer):
    """Keras' dynamic loss scale, whose skipped steps are steps of the run.

    Gradients of float16 activations underflow; those of the loss times a scale do not. Where one overflows, the weights
    stay, and the scale is halved; after `dynamic_growth_steps` without that it is doubled.

    In Keras `iterations` counts the updates. Here it is also the run's step: data, augmentation, schedules and checkpoints
    follow it, so a skipped step counts.

    Args:
        inner_optimizer: the optimizer that takes the unscaled gradients, summed over the replicas.
        initial_scale: the first scale.
        dynamic_growth_steps: steps without overflow before the scale is doubled.

    Examples:
        >>> optimizer = LossScale(tfcontrastive.LARS(0.3))

    Source: Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740.
    """

    def _stateful_handle_non_finite_grads(self):
        super()._stateful_handle_non_finite_grads()
        self.inner_optimizer.iterations.assign_add(1)
