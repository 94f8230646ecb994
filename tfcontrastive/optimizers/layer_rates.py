"""Adam with a rate for each layer, which are let go from the last to the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive.config import InputError


@keras.saving.register_keras_serializable("tfcontrastive")
class LayerwiseAdam(keras.optimizers.Adam):
    r"""Adam whose step is smaller, and begins later, the lower a weight lies.

    A weight at depth d, from 0 of the first layer to 1 of the last, moves at step t by Adam's update times

    $$ r^{1 - d} \cdot [t \ge a + (1 - d) (b - a)] $$

    with r = `first_rate`, a = `head_steps` and b = `open_steps`. Weights of a new head, without a depth, move from the
    first step on, `head_rate` times as far.

    Args:
        learning_rate: of the last layer; a float or a schedule.
        depths: of each variable that the optimizer is built for, in that order: in [0, 1], or None.
        first_rate: r, in (0, 1].
        head_steps: a, at least 0: steps before the last layer moves.
        open_steps: b, at least a: the step from which the first layer moves too.
        head_rate: > 0.
        **kwargs: of `keras.optimizers.Adam`.

    Raises:
        InputError: a number out of range, or another number of variables than depths.

    Examples:
        >>> optimizer = LayerwiseAdam(0.1, depths=[0.0, 1.0], first_rate=0.1)
        >>> weights = [keras.Variable(1.0), keras.Variable(1.0)]
        >>> optimizer.apply([tf.constant(1.0), tf.constant(1.0)], weights)
        >>> [round(float(weight), 3) for weight in weights]
        [0.99, 0.9]

    Source: rates that fall from layer to layer and layers that are unfrozen one by one: Howard and Ruder, arXiv
    1801.06146, sections 3.2 and 3.3.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        *,
        depths: Sequence[float | None],
        first_rate: float = 0.1,
        head_steps: int = 0,
        open_steps: int = 0,
        head_rate: float = 10.0,
        **kwargs: Any,
    ):
        super().__init__(learning_rate, **kwargs)
        if not (0 < first_rate <= 1 and head_rate > 0 and 0 <= head_steps <= open_steps):
            raise InputError(
                "`first_rate` must lie in (0, 1], `head_rate` be > 0, and `head_steps` at most `open_steps`. Received: "
                f"{first_rate}, {head_rate}, {head_steps} and {open_steps}."
            )
        if any(depth is not None and not 0 <= depth <= 1 for depth in depths):
            raise InputError(f"`depths` must lie in [0, 1]. Received: {list(depths)}.")
        self.depths, self.first_rate, self.head_rate = tuple(depths), first_rate, head_rate
        self.head_steps, self.open_steps = head_steps, open_steps

    def build(self, variables):
        if not self.built and len(variables) != len(self.depths):
            raise InputError(
                f"`depths` must be one for each variable, {len(variables)}. Received: {len(self.depths)} of them."
            )
        super().build(variables)

    def update_step(self, gradient, variable, learning_rate):
        depth = self.depths[self._get_variable_index(variable)]
        if depth is None:
            factor: Any = self.head_rate
        else:
            begin = self.head_steps + (1 - depth) * (self.open_steps - self.head_steps)
            moves = tf.cast(self.iterations.value, tf.float32) >= begin
            factor = tf.where(moves, self.first_rate ** (1 - depth), 0.0)
        super().update_step(gradient, variable, learning_rate * factor)

    def get_config(self) -> dict[str, Any]:
        names = ("first_rate", "head_steps", "open_steps", "head_rate")
        return {**super().get_config(), "depths": list(self.depths), **{name: getattr(self, name) for name in names}}
