"""SimCLR's arithmetic of steps and learning rates, and the ramp of a target network's momentum."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfcontrastive.config import InputError, unknown

_SCALINGS = {
    "linear": lambda learning_rate, batch_size: learning_rate * batch_size / 256,
    "sqrt": lambda learning_rate, batch_size: learning_rate * math.sqrt(batch_size),
    "none": lambda learning_rate, batch_size: learning_rate,
}


def scaled_learning_rate(learning_rate: float, batch_size: int, scaling: str = "linear") -> float:
    """The learning rate for a batch size: `lr * B / 256` (linear), `lr * sqrt(B)` (sqrt) or `lr` (none).

    Args:
        learning_rate: the base learning rate.
        batch_size: B, the images of a step on all replicas.
        scaling: "linear", "sqrt" or "none".

    Raises:
        InputError: for an unknown scaling.

    Examples:
        >>> scaled_learning_rate(0.3, 4096)
        4.8

    Source: google-research/simclr; arXiv 2002.05709, section 2.2 and appendix B.1.
    """
    if scaling not in _SCALINGS:
        raise InputError(f"`scaling` {unknown(scaling, _SCALINGS)}")
    return _SCALINGS[scaling](learning_rate, batch_size)


def train_steps(num_examples: int, batch_size: int, epochs: float) -> int:
    """The steps of a run, `N * epochs // B + 1`, as google-research/simclr counts them.

    Examples:
        >>> train_steps(50_000, batch_size=512, epochs=100)
        9766
    """
    return int(num_examples * epochs // batch_size) + 1


def warmup_steps(num_examples: int, batch_size: int, warmup_epochs: float) -> int:
    """The steps of the warm-up, `N * epochs // B`, as google-research/simclr counts them.

    Examples:
        >>> warmup_steps(50_000, batch_size=512, warmup_epochs=10)
        976
    """
    return round(warmup_epochs * num_examples // batch_size)


def learning_rate_schedule(
    learning_rate: float, *, steps: int, warmup_steps: int = 0
) -> keras.optimizers.schedules.LearningRateSchedule:
    r"""A linear warm-up from 0, then a cosine decay to 0.

    $$ \eta(k) = \eta \, k / W \ \text{for}\ k < W, \qquad
       \eta(k) = \tfrac{\eta}{2} \left( 1 + \cos \pi \frac{k - W}{K - W} \right) \ \text{for}\ W \le k \le K $$

    Args:
        learning_rate: eta, the highest learning rate (see `scaled_learning_rate`).
        steps: K, the steps of the run.
        warmup_steps: W, 0 for none. A run that is shorter than its warm-up ends on the way up.

    Returns:
        A `keras.optimizers.schedules.CosineDecay`.

    Raises:
        InputError: for fewer than 1 step or a negative warm-up.

    Examples:
        >>> schedule = learning_rate_schedule(0.6, steps=9766, warmup_steps=976)
        >>> [round(float(schedule(step)), 5) for step in (0, 488, 976, 5000)]
        [0.0, 0.3, 0.6, 0.33966]
    """
    if not steps >= 1:
        raise InputError(f"`steps` must be >= 1. Received: steps={steps!r}.")
    if not warmup_steps >= 0:
        raise InputError(f"`warmup_steps` must be >= 0. Received: warmup_steps={warmup_steps!r}.")
    if warmup_steps == 0:
        return keras.optimizers.schedules.CosineDecay(float(learning_rate), steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0, max(steps - warmup_steps, 1), warmup_target=float(learning_rate), warmup_steps=warmup_steps
    )


def ema_momentum(base: float, step: tf.Tensor | int, total_steps: int) -> tf.Tensor:
    r"""The momentum of a target network, raised from `base` to 1 over the run.

    $$ m(k) = 1 - (1 - m_0) \, \tfrac{1}{2} (1 + \cos(\pi k / K)) $$

    Args:
        base: m_0 in [0, 1].
        step: k, the number of updates made; beyond K the momentum stays 1.
        total_steps: K.

    Returns:
        A float32 scalar.

    Raises:
        InputError: for a base outside [0, 1] or no steps.

    Examples:
        >>> [f"{ema_momentum(0.996, step, 100):.3f}" for step in (0, 50, 100)]
        ['0.996', '0.998', '1.000']

    Sources: Grill et al., "Bootstrap Your Own Latent", arXiv 2006.07733, section 3.2; MoCo v3, arXiv 2104.02057.
    """
    if not 0 <= base <= 1:
        raise InputError(f"`base` must be in [0, 1]. Received: base={base!r}.")
    if not total_steps > 0:
        raise InputError(f"`total_steps` must be > 0. Received: total_steps={total_steps!r}.")
    done = tf.minimum(tf.cast(step, tf.float32) / total_steps, 1)
    return 1 - (1 - base) * 0.5 * (1 + tf.cos(math.pi * done))


def linear_ramp(start: float, end: float, step: tf.Tensor | int, steps: int) -> tf.Tensor:
    """A value that goes from `start` at step 0 to `end` at step `steps - 1`, and stays there.

    Args:
        start, end: of the ramp.
        step: the number of steps made.
        steps: >= 1; of one step, the value is `end` from the beginning.

    Returns:
        A float32 scalar.

    Raises:
        InputError: for fewer than 1 step.

    Examples:
        >>> [f"{linear_ramp(0.04, 0.07, step, 30):.4f}" for step in (0, 15, 29, 30)]
        ['0.0400', '0.0555', '0.0700', '0.0700']

    Source: the teacher's temperature of DINO, arXiv 2104.14294, whose code counts epochs.
    """
    if not steps >= 1:
        raise InputError(f"`steps` must be >= 1. Received: steps={steps!r}.")
    done = tf.minimum(tf.cast(step, tf.float32) / (steps - 1), 1) if steps > 1 else tf.constant(1.0)
    return start + (end - start) * done


def cosine_ramp(start: float, end: float, step: tf.Tensor | int, steps: int) -> tf.Tensor:
    r"""A value that goes from `start` to `end` along half a cosine, and stays there after `steps`.

    $$ v(k) = v_K + (v_0 - v_K) \, \tfrac{1}{2} (1 + \cos(\pi k / K)) $$

    Args:
        start, end: v_0 and v_K.
        step: k, the number of steps made.
        steps: K >= 1.

    Returns:
        A float32 scalar.

    Raises:
        InputError: for fewer than 1 step.

    Examples:
        >>> [f"{cosine_ramp(0.04, 0.4, step, 1000):.7f}" for step in (0, 500, 999)]
        ['0.0400000', '0.2200000', '0.3999991']

    Source: the weight decay of DINO, arXiv 2104.14294.
    """
    if not steps >= 1:
        raise InputError(f"`steps` must be >= 1. Received: steps={steps!r}.")
    done = tf.minimum(tf.cast(step, tf.float32) / steps, 1)
    return end + (start - end) * 0.5 * (1 + tf.cos(math.pi * done))
