"""The best of several states is kept, whatever comes after it, and outlives the process."""

import json

import keras
import numpy as np
import pytest

from tfcontrastive.callbacks import keep_best
from tfcontrastive.callbacks.keep_best import KeepBest, Reading, gain


class Model:
    """As much of a model as the callback looks at."""

    def __init__(self):
        self.encoder, self.start = (keras.Sequential([keras.Input([2]), keras.layers.Dense(1)]) for _ in range(2))
        self.start.set_weights([np.zeros([2, 1]), np.zeros(1)])


@pytest.fixture
def at(monkeypatch):
    """Sets the step of the run."""

    def step(number):
        monkeypatch.setattr(keep_best.distribute, "step_of", lambda model: number)

    return step


def read(encoder):
    """An encoder whose bias is b names the first b of ten images."""
    worth = int(encoder.get_weights()[1][0])
    return Reading((np.arange(10) < worth).astype(float), {"knn_top1": worth / 10, "effective_rank": 10.0 - worth})


def measured(callback, model, worth, step, at):
    model.encoder.set_weights([np.ones([2, 1]), np.full(1, worth)])
    at(step)
    callback.set_model(model)
    return callback.measure()


def callback_in(path, **how):
    return KeepBest(read, str(path), every_steps=1, last_step=9, certainty=1.0, **how)


def test_the_best_state_is_given_back_by_another_process(tmp_path, at):
    model, callback = Model(), callback_in(tmp_path)
    for step, worth in enumerate([3, 8, 5], start=1):
        logs = measured(callback, model, worth, step, at)
    assert logs["selection_knn_top1"] == 0.5
    again = callback_in(tmp_path)
    assert again.restore(model.encoder)["step"] == 2
    assert model.encoder.get_weights()[1][0] == 8
    assert len(list((tmp_path / "best").glob("step-*.index"))) <= 2


def test_a_step_that_was_measured_before_a_kill_is_not_measured_again(tmp_path, at):
    model = Model()
    first = measured(callback_in(tmp_path), model, 8, 1, at)
    assert measured(callback_in(tmp_path), model, 3, 1, at) == first
    assert len(json.loads((tmp_path / "selection.json").read_text())["measured"]) == 1


def test_a_state_that_lost_its_rank_does_not_count(tmp_path, at):
    model, callback = Model(), callback_in(tmp_path, floors={"effective_rank": 0.5})
    measured(callback, model, 4, 1, at)
    measured(callback, model, 9, 2, at)
    assert callback.best["step"] == 1
    (tmp_path / "other").mkdir()
    measured(other := callback_in(tmp_path / "other", floors={"effective_rank": 0.5}), model, 9, 1, at)
    assert other.best is None
    assert other.restore(model.encoder) is None


def test_a_gain_has_the_error_of_paired_images():
    rng = np.random.default_rng(0)
    before = (rng.random(400) < 0.6).astype(float)
    now = np.where(rng.random(400) < 0.1, 1 - before, before)
    mean, error = gain(now, before)
    drawn = [np.mean((now - before)[rng.integers(0, 400, 400)]) for _ in range(2000)]
    assert mean == pytest.approx(now.mean() - before.mean())
    assert error == pytest.approx(np.std(drawn), rel=0.1)
    assert gain(np.ones(1), np.zeros(1)) == (1.0, float("inf"))
