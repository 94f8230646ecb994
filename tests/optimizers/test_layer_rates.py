"""Rates by depth, and layers that are let go one by one, against Adam's own step."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.optimizers.layer_rates import LayerwiseAdam


def moved(steps, **how):
    """How far each of four weights at depths 0, 1/2, 1 and of the head is after some steps of a gradient of one."""
    weights = [keras.Variable(0.0) for _ in range(4)]
    optimizer = LayerwiseAdam(0.01, depths=[0.0, 0.5, 1.0, None], **how)
    for _ in range(steps):
        optimizer.apply([tf.constant(1.0)] * 4, weights)
    return [-float(weight) for weight in weights]


def test_a_step_is_adams_times_the_rate_of_the_layer():
    assert moved(1, first_rate=0.01, head_rate=3.0) == pytest.approx([1e-4, 1e-3, 1e-2, 3e-2], rel=1e-4)


@pytest.mark.parametrize(
    ("steps", "moves"), [(2, [0, 0, 0, 1]), (3, [0, 0, 1, 1]), (5, [0, 1, 1, 1]), (7, [1, 1, 1, 1])]
)
def test_layers_are_let_go_from_the_last_to_the_first(steps, moves):
    found = moved(steps, head_steps=2, open_steps=6)
    assert [int(value > 0) for value in found] == moves


def test_it_is_made_again_from_its_config():
    optimizer = LayerwiseAdam(0.01, depths=[0.0, None], head_steps=1, open_steps=4, first_rate=0.3)
    again = LayerwiseAdam.from_config(optimizer.get_config())
    assert (again.depths, again.head_steps, again.open_steps, again.first_rate) == ((0.0, None), 1, 4, 0.3)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"depths": [2.0]}, "`depths` must lie"),
        ({"depths": [1.0], "first_rate": 0.0}, "`first_rate` must lie"),
        ({"depths": [1.0], "head_steps": 2, "open_steps": 1}, "`head_steps` at most `open_steps`"),
    ],
)
def test_what_cannot_work_is_refused(how, said):
    with pytest.raises(InputError, match=said):
        LayerwiseAdam(0.1, **how)


def test_each_variable_has_a_depth():
    with pytest.raises(InputError, match=r"one for each variable, 1\. Received: 2"):
        LayerwiseAdam(0.1, depths=[0.0, 1.0]).build([keras.Variable(np.zeros(2))])
