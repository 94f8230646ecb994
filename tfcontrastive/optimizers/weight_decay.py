"""Keras optimizers with google-research/simclr's weight decay, or with exclusions by path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.optimizers.exclusions import BIAS, NORM, TOKEN, matches
from tfcontrastive.optimizers.schedules import cosine_ramp


class _CoupledDecay:
    """Adds `weight_decay * w` to the gradient: the gradient of an L2 penalty `weight_decay / 2 * |w|^2` in the loss."""

    def __init__(
        self,
        *args: Any,
        weight_decay: float = 0.0,
        exclude_from_weight_decay: Sequence[str] = (NORM, TOKEN),
        **kwargs: Any,
    ):
        if not weight_decay >= 0:
            raise InputError(f"`weight_decay` must be >= 0. Received: weight_decay={weight_decay!r}.")
        super().__init__(*args, **kwargs)
        self.coupled_weight_decay = weight_decay
        self._undecayed = tuple(exclude_from_weight_decay)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._decays = tuple(0.0 if matches(self._undecayed, v) else self.coupled_weight_decay for v in variables)

    def update_step(self, gradient, variable, learning_rate):
        decay = self._decays[self._get_variable_index(variable)]
        if decay:
            gradient = gradient + decay * tf.cast(variable, gradient.dtype)
        super().update_step(gradient, variable, learning_rate)

    def get_config(self):
        config = {"weight_decay": self.coupled_weight_decay, "exclude_from_weight_decay": list(self._undecayed)}
        return {**super().get_config(), **config}


class _ExclusionByPath:
    """Keras' decoupled decay, with exclusions found in `variable.path` instead of `variable.name`.

    With `weight_decay_end` it goes there along a cosine of `weight_decay_steps`, as in DINO.
    """

    def __init__(
        self,
        *args: Any,
        exclude_from_weight_decay: Sequence[str] = (NORM, BIAS, TOKEN),
        weight_decay_end: float | None = None,
        weight_decay_steps: int = 0,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        if weight_decay_end is not None and not (weight_decay_end >= 0 and weight_decay_steps >= 1):
            raise InputError(
                "`weight_decay_end` must be >= 0, with `weight_decay_steps` of 1 or more. "
                f"Received: weight_decay_end={weight_decay_end!r}, weight_decay_steps={weight_decay_steps!r}."
            )
        self._undecayed = tuple(exclude_from_weight_decay)
        self._ramp = None if weight_decay_end is None else (self.weight_decay or 0.0, float(weight_decay_end))
        self.weight_decay_steps = weight_decay_steps

    def build(self, variables):
        if self.built:
            return
        self.exclude_from_weight_decay(var_list=[v for v in variables if matches(self._undecayed, v)])
        super().build(variables)

    def _apply_weight_decay(self, variables):
        if self._ramp is None:
            super()._apply_weight_decay(variables)
            return
        first, last = self._ramp
        self.weight_decay = cosine_ramp(first, last, self.iterations.value, self.weight_decay_steps)
        super()._apply_weight_decay(variables)
        self.weight_decay = first

    def get_config(self):
        own: dict[str, Any] = {"exclude_from_weight_decay": list(self._undecayed)}
        if self._ramp is not None:
            own |= {"weight_decay_end": self._ramp[1], "weight_decay_steps": self.weight_decay_steps}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("tfcontrastive")
class Momentum(_CoupledDecay, keras.optimizers.SGD):
    """`keras.optimizers.SGD` with coupled weight decay, by default not of normalisation parameters and tokens."""


@keras.saving.register_keras_serializable("tfcontrastive")
class Adam(_CoupledDecay, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with coupled weight decay, by default not of normalisation parameters and tokens."""


@keras.saving.register_keras_serializable("tfcontrastive")
class AdamW(_ExclusionByPath, keras.optimizers.AdamW):
    """`keras.optimizers.AdamW`, whose decay by default skips normalisation parameters, biases and tokens."""


@keras.saving.register_keras_serializable("tfcontrastive")
class Lamb(_ExclusionByPath, keras.optimizers.Lamb):
    """`keras.optimizers.Lamb`, whose decay by default skips normalisation parameters, biases and tokens.

    The decay is decoupled, as in Keras: it is not part of the update whose norm sets the ratio, as it is in the paper.
    """
