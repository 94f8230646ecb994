"""SimCLR's steps and learning rates, and the momentum ramp."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import optimizers
from tfcontrastive.config import InputError

STEPS, WARMUP, PEAK = 9766, 976, 0.6  # 50,000 images, batch 512, 100 epochs, 10 of warm-up, 0.3 * 512 / 256


def test_steps_of_a_run():
    assert optimizers.train_steps(50_000, 512, 100) == STEPS
    assert optimizers.warmup_steps(50_000, 512, 10) == WARMUP
    assert optimizers.train_steps(1000, 100, 0.5) == 6


@pytest.mark.parametrize(("scaling", "rate"), [("linear", 0.6), ("sqrt", 0.3 * math.sqrt(512)), ("none", 0.3)])
def test_scaling(scaling, rate):
    assert optimizers.scaled_learning_rate(0.3, 512, scaling) == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(0, 0.0), (488, 0.3), (976, 0.6), (5000, 0.33966), (9766, 0.0)])
def test_learning_rate(step, rate):
    schedule = optimizers.learning_rate_schedule(PEAK, steps=STEPS, warmup_steps=WARMUP)
    assert float(schedule(step)) == pytest.approx(rate, abs=5e-6)


def test_learning_rate_equals_the_formula_at_every_step():
    schedule = optimizers.learning_rate_schedule(0.5, steps=40, warmup_steps=7)
    for step in range(41):
        expected = 0.5 * step / 7 if step < 7 else 0.25 * (1 + math.cos(math.pi * (step - 7) / 33))
        assert float(schedule(step)) == pytest.approx(expected, abs=1e-7)


def test_learning_rate_without_warmup_starts_at_the_top():
    assert float(optimizers.learning_rate_schedule(0.5, steps=10)(0)) == 0.5


def test_a_run_shorter_than_its_warmup_ends_on_the_way_up():
    schedule = optimizers.learning_rate_schedule(0.6, steps=3, warmup_steps=6)
    np.testing.assert_allclose([schedule(step) for step in range(4)], [0, 0.1, 0.2, 0.3], rtol=1e-6)


@pytest.mark.parametrize(("step", "momentum"), [(0, 0.996), (50, 0.998), (100, 1.0), (200, 1.0)])
def test_ema_momentum_rises_to_one(step, momentum):
    assert float(optimizers.ema_momentum(0.996, step, 100)) == pytest.approx(momentum, abs=1e-7)
    assert float(optimizers.ema_momentum(0.996, tf.constant(step, tf.int64), 100)) == pytest.approx(momentum, abs=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.scaled_learning_rate(0.1, 8, "liner"), "Did you mean 'linear'"),
        (lambda: optimizers.learning_rate_schedule(0.1, steps=0), "`steps` must be >= 1"),
        (lambda: optimizers.learning_rate_schedule(0.1, steps=5, warmup_steps=-1), "`warmup_steps` must be >= 0"),
        (lambda: optimizers.ema_momentum(1.5, 0, 10), r"`base` must be in \[0, 1\]. Received: base=1.5"),
        (lambda: optimizers.ema_momentum(0.9, 0, 0), "`total_steps` must be > 0"),
        (lambda: optimizers.linear_ramp(0.1, 0.2, 0, 0), "`steps` must be >= 1"),
        (lambda: optimizers.cosine_ramp(0.1, 0.2, 0, 0), "`steps` must be >= 1"),
    ],
)
def test_values_out_of_range_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
