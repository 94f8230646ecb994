"""The numbers of a run: steps, segments of `fit`, learning rates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcontrastive import data
from tfcontrastive.config import LoopConfig, OptimizerConfig, TrainConfig
from tfcontrastive.runs.inputs import eval_split
from tfcontrastive.runs.schedule import Plan


def plan(num_examples: int = 50_000, **loop) -> Plan:
    return Plan.make(TrainConfig(loop=LoopConfig(**loop)), num_examples)


def test_steps_and_rates_are_those_of_simclr():
    made = plan(train_batch_size=512, train_epochs=100)
    assert (made.steps, made.warmup_steps, made.epoch_steps) == (9766, 976, 98)
    rates = [float(made.schedule(step)) for step in (0, 488, 976, 5000, 9766)]
    assert rates == pytest.approx([0.0, 0.3, 0.6, 0.33966, 0.0], abs=1e-5)


def test_the_rate_is_scaled_as_asked():
    config = TrainConfig(
        optimizer=OptimizerConfig(learning_rate=0.075, learning_rate_scaling="sqrt"),
        loop=LoopConfig(train_batch_size=4096),
    )
    assert Plan.make(config, 1_281_167).peak_learning_rate == pytest.approx(4.8)


def test_checkpoints_come_by_epochs_unless_steps_are_given():
    assert plan(train_batch_size=512, checkpoint_epochs=3).checkpoint_steps == 3 * 98
    assert plan(train_batch_size=512, checkpoint_epochs=3, checkpoint_steps=7).checkpoint_steps == 7


def test_train_steps_override_epochs():
    assert plan(train_steps=7, train_epochs=100).steps == 7


@given(num_examples=st.integers(2, 500), batch=st.integers(2, 50), steps=st.integers(1, 60), data=st.data())
def test_segments_lead_from_any_step_to_the_last(num_examples, batch, steps, data):
    made = plan(num_examples, train_batch_size=batch, train_steps=steps)
    step = data.draw(st.integers(0, steps))
    for first, last, length in made.segments(step):
        assert first == step // made.epoch_steps
        assert 0 < length <= made.epoch_steps
        step += (last - first) * length
        assert step == steps or step % made.epoch_steps == 0
    assert step == steps


@pytest.mark.parametrize(
    ("splits", "expected"),
    [(("train", "test", "validation"), "validation"), (("train", "test", "val"), "val"), (("train",), None)],
)
def test_the_held_out_split(splits, expected):
    images = np.zeros((2, 4, 4, 1), np.uint8)
    source = data.ArraySource(dict.fromkeys(splits, (images, None)))
    assert eval_split(TrainConfig(), source) == expected
