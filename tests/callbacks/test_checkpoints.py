"""When checkpoints are written, by whom, what is in them, and what is said of those that are not whole."""

import contextlib
import json
import os

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfcontrastive.callbacks import Checkpoints
from tfcontrastive.config import InputError
from tfcontrastive.models.checkpoint import checkpoint_of, from_paths, kept, restore
from tfcontrastive.models.checkpoint_files import move_newer_aside, newest_step, steps_in, sweep

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


def test_an_epoch_that_is_resumed_ends_with_the_metrics_of_all_its_steps(tmp_path):
    def trained(directory, stop=None):
        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                if int(self.model.optimizer.iterations) == stop:
                    raise Killed

        made = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, kernel_initializer="ones")])
        made.compile("sgd", "mse")
        checkpoints = Checkpoints(str(directory), every_steps=2, last_step=2 * STEPS, epoch_steps=STEPS)
        step = checkpoints.restore(made)
        rows = np.arange(2.0 * STEPS).reshape(STEPS, 2) / 8, np.ones((STEPS, 1))
        epoch, inside = divmod(step, STEPS)
        data = tf.data.Dataset.from_tensor_slices(rows).batch(1).repeat().skip(inside)
        found = made.fit(data, initial_epoch=epoch, epochs=2 if not inside else epoch + 1, verbose=0, shuffle=False,
                         steps_per_epoch=STEPS - inside, callbacks=[checkpoints, Stop()])  # fmt: skip
        return found.history["loss"]

    expected = trained(tmp_path / "straight")
    with pytest.raises(Killed):
        trained(tmp_path / "killed", stop=7)
    assert trained(tmp_path / "killed") == expected[1:]


def test_the_newest_ones_are_kept(tmp_path):
    assert fit(tmp_path, keep=2) == [6, 8]


def test_a_resumed_run_counts_from_where_it_starts(tmp_path):
    assert fit(tmp_path, every_steps=3, epochs=1) == [3, 4]
    assert fit(tmp_path, every_steps=3, epochs=2) == [3, 4, 6, 8, 9, 12]


def test_only_the_chief_leaves_checkpoints(tmp_path, monkeypatch):
    cluster = {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 1}}))
    assert fit(tmp_path) == []


def test_a_checkpoint_holds_the_model_its_optimizer_and_sums_of_metrics(tmp_path):
    trained = model()
    trained.fit(np.ones((STEPS, 2)), np.ones((STEPS, 1)), verbose=0)
    names = [name for name, _ in tf.train.list_variables(checkpoint_of(trained).save(str(tmp_path / "step")))]
    saved = [name for name in names if name.startswith(("model/", "optimizer/"))]
    assert len(saved) == len(trained.weights) + len(trained.optimizer.variables)
    sums = [name for name in names if name.startswith("epoch_sums/loss/")]
    assert len(sums) == len(trained.metrics[0].variables)


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


def damage(path):
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("file", ["step-8.index", "step-8.data-00000-of-00001"])
def test_a_damaged_checkpoint_is_refused_and_the_newest_whole_one_named(file, tmp_path):
    fit(tmp_path)
    damage(tmp_path / file)
    damage(tmp_path / "step-6.data-00000-of-00001")
    with pytest.raises(
        InputError, match=r"must be whole.*step-8.*newest whole one is of step 4.*--restore_step=4"
    ) as error:
        go_on(str(tmp_path))
    assert "\n" not in str(error.value)


def test_where_none_is_whole_a_new_start_is_advised(tmp_path):
    fit(tmp_path, every_steps=100)
    damage(tmp_path / "step-8.index")
    with pytest.raises(InputError, match=r"No earlier one is.*--overwrite"):
        go_on(str(tmp_path))


def test_a_run_goes_on_from_an_older_checkpoint_and_keeps_newer_ones_aside(tmp_path):
    directory, history = tmp_path / "checkpoints", tmp_path / "metrics.jsonl"
    directory.mkdir()
    fit(directory)
    history.write_text("{}")
    trained = model()
    assert Checkpoints(str(directory), every_steps=1, last_step=9).restore(trained, 4) == 4
    assert int(trained.optimizer.iterations) == 4
    move_newer_aside(str(directory), 4, str(history))
    assert (steps_in(str(directory)), steps_in(f"{directory}.1")) == ([2, 4], [6, 8])
    assert (newest_step(str(directory)), go_on(str(directory)), go_on(f"{directory}.1")) == (4, 4, 8)
    assert (tmp_path / "checkpoints.1" / "metrics.jsonl").read_text() == history.read_text()


@pytest.mark.parametrize("moves", range(5))
def test_going_back_loses_nothing_wherever_it_is_killed(moves, tmp_path, monkeypatch):
    """Killed after so many of four moves, and started again: that step is the newest, and every file is somewhere."""
    fit(tmp_path / "checkpoints")
    directory, rename = str(tmp_path / "checkpoints"), tf.io.gfile.rename
    files = sorted(path.name for path in tmp_path.rglob("step-*"))
    left = iter(range(moves))

    def killed(*args, **how):
        if "step-" in str(args[0]) and next(left, None) is None:
            raise Killed
        rename(*args, **how)

    with monkeypatch.context() as patch:
        patch.setattr(tf.io.gfile, "rename", killed)
        with pytest.raises(Killed) if moves < 4 else contextlib.nullcontext():
            move_newer_aside(directory, 4)
    assert newest_step(directory) == 4
    sweep(directory)
    move_newer_aside(directory, 4)
    assert (go_on(directory), steps_in(directory)) == (4, [2, 4])
    assert sorted(path.name for path in tmp_path.rglob("step-*")) == files


def test_a_step_without_a_checkpoint_cannot_be_gone_back_to(tmp_path):
    fit(tmp_path)
    with pytest.raises(
        InputError, match=r"`restore_step` must be the step of a checkpoint: 2, 4, 6, 8. Received: .*=5"
    ):
        Checkpoints(str(tmp_path), every_steps=1, last_step=9).restore(model(), 5)


def test_what_is_not_finite_is_not_saved(tmp_path):
    class Ruin(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if int(self.model.optimizer.iterations) == 6:
                self.model.weights[0].assign([[np.inf], [0]])

    with pytest.raises(InputError, match=r"must be finite.*at step 6.*not saved.*--restore_step=4"):
        fit(tmp_path, Ruin())
    assert newest_step(str(tmp_path)) == 4


def test_a_checkpoint_that_is_not_finite_is_refused_and_the_last_good_one_named(tmp_path):
    fit(tmp_path)
    ruined = model()
    ruined.weights[0].assign([[np.nan], [0]])
    ruined.optimizer.iterations.assign(8)
    manager = tf.train.CheckpointManager(checkpoint_of(ruined), str(tmp_path), max_to_keep=9, checkpoint_name="step")
    for step in (6, 8):
        manager.save(checkpoint_number=step)
    with pytest.raises(InputError, match=r"must hold finite numbers.*step-8.*--restore_step=4"):
        go_on(str(tmp_path))


def test_what_killed_processes_left_is_swept_and_nothing_else(tmp_path):
    fit(tmp_path, every_steps=4)
    kept = sorted(os.listdir(tmp_path))
    (tmp_path / "step-10_temp").mkdir()
    (tmp_path / "step-10_temp" / "part-00000-of-00001.data-00000-of-00001").write_text("half")
    (tmp_path / "checkpoint.tmp0b7e").write_text("half")
    (tmp_path / "step-3.data-00000-of-00001").write_text("its index is gone")
    (tmp_path / "step-12_temp").mkdir()
    (tmp_path / "notes_temp").mkdir()
    with open(tmp_path / "step-12_temp" / "part", "w"):  # a live process writes here
        sweep(str(tmp_path))
    assert sorted(os.listdir(tmp_path)) == sorted([*kept, "step-12_temp", "notes_temp"])
    assert go_on(str(tmp_path)) == 8


def test_a_checkpoint_without_sums_of_metrics_or_with_others_is_restored(tmp_path):
    saved = model()
    named = {name: variable.value for name, variable in kept(saved).items()}
    for number, others in enumerate(({}, {"epoch_sums/gone/0": tf.Variable(3.0)})):
        path = from_paths({**named, **others}).save(str(tmp_path / f"{number}"))
        assert set(restore(path, model())) == set(others)


FILES = ("step-8.index", "step-8.data-00000-of-00001", "checkpoint")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of a run's checkpoints, and the weights of each step."""
    directory = tmp_path_factory.mktemp("whole")
    weights = {0: None}

    class Keep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weights[int(self.model.optimizer.iterations)] = [np.array(value) for value in self.model.weights]

    fit(directory, Keep())
    return {path.name: path.read_bytes() for path in directory.iterdir()}, weights


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES), place=st.integers(0, 10**6), bit=st.none() | st.integers(0, 7))
def test_a_bit_that_flips_or_a_file_cut_short_is_told_of_or_does_not_matter(whole, tmp_path, name, place, bit):
    files, weights = whole
    content = bytearray(files[name])
    place %= len(content)
    if bit is None:
        content = content[:place]
    else:
        content[place] ^= 1 << bit
    for path, held in {**files, name: bytes(content)}.items():
        (tmp_path / path).write_bytes(held)
    restored = model()
    try:
        step = Checkpoints(str(tmp_path), every_steps=1, last_step=9).restore(restored)
    except InputError:
        return
    for value, expected in zip(restored.weights, weights[step], strict=True):
        np.testing.assert_array_equal(value, expected)
