"""The clock of the whole command, and how long its training may be."""

import json

import pytest

from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.fitting.clock import Clock
from tfcontrastive.fitting.length import Budget, with_length
from tfcontrastive.methods import SimCLRConfig
from tfcontrastive.runs.pace import Pace


class Time:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_second_process_goes_on_with_the_clock(tmp_path):
    time, path = Time(), str(tmp_path / "clock.json")
    clock = Clock(2, path, now=time)
    clock.stage("looking")
    time.now += 30
    clock.stage("training")
    time.now += 20
    clock.save()
    assert clock.left() == 70
    time.now += 1_000  # killed; nobody counts this
    again = Clock(2, path, now=time)
    time.now += 10
    assert again.seconds() == 60
    assert again.left() == 60
    assert clock.stages == {"looking": 30}


def test_the_time_is_saved_while_a_model_trains(tmp_path):
    time, path = Time(), tmp_path / "clock.json"
    clock = Clock(None, str(path), now=time)
    clock.save()
    callback = clock.callback()
    for _ in range(12):
        time.now += 1
        callback.on_train_batch_end(0)
    assert json.loads(path.read_text())["seconds"] == 10
    assert clock.left() == float("inf")


def test_steps_fill_the_minutes_and_leave_room_for_the_rest():
    pace = Pace(10.0, 0.2)
    alone = Budget(360, 1_000, None).steps(pace, 128)
    tuned = Budget(360, 1_000, "fine_tuned").steps(pace, 128)
    beside = Budget(360, 12_000, "supervised").steps(pace, 128)
    assert beside < tuned < alone
    assert 350 < beside < 700
    assert 0.5 * 360 < alone * 0.2 < 360
    assert Budget(720, 1_000, None).steps(pace, 128) > 2 * alone


def test_a_slow_machine_has_more_time_for_the_rest_and_few_images_need_little_of_it():
    def rest(compiling, images, comparison=None):
        """Seconds that are not the steps'."""
        return 360 - 1.1 * 0.2 * Budget(360, images, comparison).steps(Pace(compiling, 0.2), 128)

    assert rest(3, 200) < rest(3, 12_000) < rest(9, 12_000)
    assert rest(9, 200) - rest(3, 200) == pytest.approx(6 * (1 + 8 + 5 * 200 / 12_000), abs=0.5)
    # 60 epochs of 200 images are 28 steps of pre-training long, and a network more is compiled
    assert rest(3, 200, "fine_tuned") - rest(3, 200) == pytest.approx(3 + 60 * 200 / 256 * 0.6 * 0.2, abs=0.5)


def test_probes_of_wide_features_have_their_time():
    def seconds(features, comparison="supervised"):
        return Budget(360, 12_000, comparison).other_seconds(Pace(4.0, 0.1, features), 0.1 / 256)

    assert seconds(64) == seconds(0)  # what a machine that compiles so fast does in the time of five first steps
    assert seconds(1_536) - seconds(0) == pytest.approx(3 * 12_000 * 1_536 * 2.6e-6 - 5 * 4.0)
    assert seconds(1_536, None) == seconds(0, None)  # nothing is probed without labels


def test_whitened_features_have_time_for_their_roots_and_none_for_long_probes():
    def seconds(features, whitened):
        return Budget(360, 12_000, "supervised").other_seconds(Pace(4.0, 0.1, features, whitened), 0.1 / 256)

    assert seconds(0, True) < seconds(1_536, True) < seconds(1_536, False)
    assert seconds(3_072, True) - seconds(0, True) == pytest.approx(8 * (seconds(1_536, True) - seconds(0, True)))


def test_too_few_minutes_are_refused():
    with pytest.raises(InputError, match="`minutes` must leave time"):
        Budget(60, 1_000, None).steps(Pace(10.0, 0.2), 128)


def test_the_length_decides_warm_up_and_how_often_to_save():
    config = TrainConfig(method_config=SimCLRConfig())
    config = config.changed(loop=config.loop.__class__(train_batch_size=10))
    made = with_length(config, 200, Pace(1.0, 0.5), 100, asked=frozenset())
    assert made.loop.train_steps == 200
    assert made.optimizer.warmup_epochs == 2.0  # a tenth of 20 epochs
    assert made.loop.checkpoint_steps == 60
    assert made.loop.knn_epochs == 4
