"""LARS, layer-wise adaptive rate scaling, as google-research/simclr trains with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.optimizers.exclusions import BIAS, NORM, SUPERVISED_HEAD, TOKEN, matches


def lars_update(
    weight: tf.Tensor,
    gradient: tf.Tensor,
    velocity: tf.Tensor,
    *,
    learning_rate: tf.Tensor | float,
    momentum: float,
    weight_decay: float,
    eta: float = 0.001,
    adapt: bool = True,
) -> tuple[tf.Tensor, tf.Tensor]:
    r"""One step of LARS for one weight tensor.

    $$ g \leftarrow g + \lambda w, \quad
       r = \eta \, |w| / |g| \ (1 \text{ if either norm is } 0), \quad
       v \leftarrow m v + \gamma r g, \quad
       w \leftarrow w - v $$

    Args:
        weight, gradient, velocity: w, g and v, of one shape.
        learning_rate: gamma.
        momentum: m.
        weight_decay: lambda, coupled: it is part of the gradient, and of the norm in the ratio.
        eta: the trust coefficient.
        adapt: False leaves r = 1.

    Returns:
        (weight, velocity) after the step.

    Examples:
        >>> w, v = lars_update(tf.ones([4]), tf.ones([4]), tf.zeros([4]),
        ...                    learning_rate=1.0, momentum=0.9, weight_decay=0.0)
        >>> print(f"{w[0]:.3f}")
        0.999

    Source: You et al., "Large Batch Training of Convolutional Networks", arXiv 1708.03888.
    """
    if weight_decay:
        gradient = gradient + weight_decay * weight
    if adapt:
        # Norms over the root of 2, each in one pass; the roots cancel. A quotient of squares could overflow.
        weights, gradients = tf.sqrt(tf.nn.l2_loss(weight)), tf.sqrt(tf.nn.l2_loss(gradient))
        ratio = eta * tf.math.divide_no_nan(weights, gradients)
        learning_rate = learning_rate * tf.where((weights > 0) & (gradients > 0), ratio, 1)
    velocity = momentum * velocity + learning_rate * gradient
    return weight - velocity, velocity


@keras.saving.register_keras_serializable("tfcontrastive")
class LARS(keras.optimizers.Optimizer):
    r"""The LARS optimizer: the rule of `lars_update`, with exclusions.

    Implementations differ. This one follows google-research/simclr: the learning rate is inside the velocity
    (`v = m v + lr r g; w -= v`), so that a gradient met at a high rate keeps its weight when the rate falls. MoCo v3,
    BYOL and lightly keep it outside (`v = m v + r g; w -= lr v`); with a constant rate the two are equal.
    The ratio is `eta |w| / |g + wd w|` without epsilon; lightly divides by `|g| + wd |w| + 1e-8`.

    Args:
        learning_rate: a float, a schedule or a callable.
        momentum: in [0, 1).
        weight_decay: coupled, part of the gradient. It is not the decoupled `weight_decay` of Keras' own optimizers.
        eta: the trust coefficient.
        exclude_from_weight_decay: regular expressions, searched in each `variable.path` when the optimizer is built.
            By default normalisation parameters, biases, class tokens and positions, and the supervised head or probe.
        exclude_from_layer_adaptation: the same for the ratio; by default what is excluded from weight decay.
        **kwargs: those of `keras.optimizers.Optimizer`.

    Raises:
        InputError: for values out of range.

    Examples:
        >>> model = keras.Sequential([keras.Input([3]), keras.layers.Dense(2)])
        >>> model.compile(optimizer=LARS(learning_rate=0.1, weight_decay=1e-4), loss="mse")

    Source: You et al., "Large Batch Training of Convolutional Networks", arXiv 1708.03888; used by SimCLR, arXiv
    2002.05709.
    """

    def __init__(
        self,
        learning_rate: Any = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 0.001,
        exclude_from_weight_decay: Sequence[str] = (NORM, BIAS, TOKEN, SUPERVISED_HEAD),
        exclude_from_layer_adaptation: Sequence[str] | None = None,
        name: str = "lars",
        **kwargs: Any,
    ):
        if not 0 <= momentum < 1:
            raise InputError(f"`momentum` must be in [0, 1). Received: momentum={momentum!r}.")
        if not weight_decay >= 0:
            raise InputError(f"`weight_decay` must be >= 0. Received: weight_decay={weight_decay!r}.")
        if not eta > 0:
            raise InputError(f"`eta` must be > 0. Received: eta={eta!r}.")
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.coupled_weight_decay = weight_decay  # Keras would apply its `weight_decay` apart from the gradient
        self.eta = eta
        self._undecayed = tuple(exclude_from_weight_decay)
        self._unadapted = None if exclude_from_layer_adaptation is None else tuple(exclude_from_layer_adaptation)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        unadapted = self._undecayed if self._unadapted is None else self._unadapted
        self._decays = tuple(0.0 if matches(self._undecayed, v) else self.coupled_weight_decay for v in variables)
        self._adapts = tuple(not matches(unadapted, v) for v in variables)
        self._velocities = self.add_optimizer_variables(variables, "velocity")

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        velocity = self._velocities[index]
        new_weight, new_velocity = lars_update(
            tf.convert_to_tensor(variable),
            tf.cast(gradient, variable.dtype),
            tf.convert_to_tensor(velocity),
            learning_rate=tf.cast(learning_rate, variable.dtype),
            momentum=self.momentum,
            weight_decay=self._decays[index],
            eta=self.eta,
            adapt=self._adapts[index],
        )
        self.assign(velocity, new_velocity)
        self.assign(variable, new_weight)

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.coupled_weight_decay,
            "eta": self.eta,
            "exclude_from_weight_decay": list(self._undecayed),
            "exclude_from_layer_adaptation": None if self._unadapted is None else list(self._unadapted),
        }
