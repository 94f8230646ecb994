"""When checkpoints are written, by whom, and what is in them."""

import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.callbacks import Checkpoints
from tfcontrastive.callbacks.checkpoints import checkpoint_of, newest_step, restore
from tfcontrastive.config import InputError

STEPS = 4  # of an epoch


class Killed(Exception):
    pass


def model(layers=1):
    made = keras.Sequential([keras.Input((2,)), *(keras.layers.Dense(1) for _ in range(layers))])
    made.compile("sgd", "mse")
    return made


def fit(directory, *callbacks, every_steps=2, epochs=2, steps_per_execution=1, keep=9):
    trained = model()
    trained.steps_per_execution = steps_per_execution
    checkpoints = Checkpoints(directory, every_steps=every_steps, last_step=epochs * STEPS, keep=keep)
    checkpoints.restore(trained)
    rows = np.ones((STEPS, 2)), np.ones((STEPS, 1))
    trained.fit(*rows, batch_size=1, epochs=epochs, verbose=0, callbacks=[*callbacks, checkpoints])
    return sorted(int(path.stem.rpartition("-")[2]) for path in directory.glob("*.index"))


@pytest.mark.parametrize(
    ("every_steps", "steps_per_execution", "expected"),
    [(2, 1, [2, 4, 6, 8]), (3, 1, [3, 6, 8]), (3, 2, [4, 6, 8]), (3, 4, [4, 8]), (100, 1, [8])],
)
def test_every_so_many_steps_and_the_last(every_steps, steps_per_execution, expected, tmp_path):
    assert fit(tmp_path, every_steps=every_steps, steps_per_execution=steps_per_execution) == expected


def test_the_newest_ones_are_kept(tmp_path):
    assert fit(tmp_path, keep=2) == [6, 8]


def test_a_resumed_run_counts_from_where_it_starts(tmp_path):
    assert fit(tmp_path, every_steps=3, epochs=1) == [3, 4]
    assert fit(tmp_path, every_steps=3, epochs=2) == [3, 4, 6, 8, 9, 12]


def test_only_the_chief_leaves_checkpoints(tmp_path, monkeypatch):
    cluster = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    assert fit(tmp_path) == []


def test_metrics_are_no_part_of_a_checkpoint_and_the_optimizer_is(tmp_path):
    trained = model()
    trained.fit(np.ones((STEPS, 2)), np.ones((STEPS, 1)), verbose=0)
    names = [name for name, _ in tf.train.list_variables(checkpoint_of(trained).save(str(tmp_path / "step")))]
    saved = [name for name in names if name.startswith(("model", "optimizer"))]
    assert len(saved) == len(trained.weights) + len(trained.optimizer.variables)


@pytest.mark.parametrize(("saved", "restored"), [(1, 2), (2, 1)])
def test_a_checkpoint_of_another_network_is_refused(saved, restored, tmp_path):
    path = checkpoint_of(model(saved)).save(str(tmp_path / "step"))
    with pytest.raises(InputError, match="must be of this very network"):
        restore(path, model(restored))


def test_no_checkpoint_is_past_an_epoch_whose_records_are_not_written(tmp_path):
    class Records(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise Killed

    with pytest.raises(Killed):
        fit(tmp_path, Records())
    assert newest_step(str(tmp_path)) == 2 * STEPS - 2


def go_on(directory) -> int:
    return Checkpoints(directory, every_steps=1, last_step=9).restore(model())


def test_where_the_newest_is_gone_the_one_before_it_is_the_newest(tmp_path):
    fit(tmp_path)
    for path in tmp_path.glob("step-8.*"):
        path.unlink()
    assert (go_on(str(tmp_path)), newest_step(str(tmp_path))) == (6, 6)


def test_checkpoints_are_found_without_their_list(tmp_path):
    fit(tmp_path, every_steps=4, epochs=3)  # 12 comes after 8, though not in the alphabet
    (tmp_path / "checkpoint").write_text("")
    with pytest.raises(InputError, match=r"checkpoint must name the newest checkpoint.*Delete it"):
        go_on(str(tmp_path))
    (tmp_path / "checkpoint").unlink()
    assert go_on(str(tmp_path)) == 12


@pytest.mark.parametrize("file", ["step-8.index", "step-8.data-00000-of-00001"])
def test_a_damaged_checkpoint_is_refused_with_what_to_do(file, tmp_path):
    fit(tmp_path)
    os.truncate(tmp_path / file, (tmp_path / file).stat().st_size // 2)
    with pytest.raises(InputError, match=r"must be whole.*step-8.*Delete its files"):
        go_on(str(tmp_path))
