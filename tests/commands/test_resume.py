"""A run that was killed goes on as if nothing had happened; one that is to go on otherwise does so or is left as it is."""

import json
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import argv, start, write_images
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.commands.main import main
from tfcontrastive.export import load_run
from tfcontrastive.models.checkpoint_files import newest_step

STEPS = 60


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return output


def tensors(directory) -> dict[str, np.ndarray]:
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(directory))
    names = [name for name in reader.get_variable_to_shape_map() if "save_counter" not in name]
    return {name: reader.get_tensor(name) for name in names if "_CHECKPOINTABLE_OBJECT_GRAPH" not in name}


def records(directory) -> list[dict[str, float]]:
    """What a run says of its epochs, but for the time they took."""
    lines = read_history(directory / "metrics.jsonl")
    return [
        {name: value for name, value in line.items() if name not in ("seconds", "images_per_second")} for line in lines
    ]


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run that nobody stopped: its directory, its data, its flags."""
    path = tmp_path_factory.mktemp("straight")
    dataset = write_images(path / "images.npz")
    flags = {"train_steps": STEPS, "checkpoint_steps": 7, "knn_epochs": 0}
    assert main(argv(dataset, path / "run", **flags)) == 0
    return path / "run", dataset, flags


def ended_by(number, arguments, checkpoints, step):
    """The step of the newest checkpoint of a run that got a signal once that of `step` was there, and what it said."""
    process = start(arguments)
    while process.poll() is None and not list(checkpoints.glob(f"step-{step}.index")):
        time.sleep(0.002)
    process.send_signal(number)
    _, errors = process.communicate()
    assert process.returncode == (-number if number == signal.SIGKILL else 128 + number), errors
    newest = newest_step(str(checkpoints))
    assert 0 < newest < STEPS  # the file of `step` is there before the list that names it
    return newest, errors


def test_a_run_that_is_stopped_and_then_killed_ends_with_the_weights_of_an_uninterrupted_one(straight, tmp_path):
    whole, dataset, flags = straight
    arguments, checkpoints = argv(dataset, tmp_path / "killed", **flags), tmp_path / "killed" / "checkpoints"
    stopped_at, errors = ended_by(signal.SIGTERM, arguments, checkpoints, 14)
    (line,) = (line for line in errors.splitlines() if line.startswith("tfcontrastive: "))
    assert line.startswith(
        f"tfcontrastive: stopped by SIGTERM: step {stopped_at} is saved in {checkpoints}. Start the same"
    )
    following = 7 * (stopped_at // 7 + 1)  # the next checkpoint of its own
    ended_by(signal.SIGKILL, arguments, checkpoints, following)

    finish(start(arguments))
    expected, resumed = tensors(whole / "checkpoints"), tensors(checkpoints)
    assert expected.keys() == resumed.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
    assert records(tmp_path / "killed") == records(whole)  # of epochs that were resumed, too
    assert (tmp_path / "killed" / "saved_model" / "1" / "saved_model.pb").exists()


def test_a_run_that_goes_on_longer_exports_its_new_weights(tmp_path):
    def train(**flags):
        return main([*argv(dataset, tmp_path / "run", knn_epochs=0, **flags), "--allow_config_change"])

    def config():
        return json.loads((tmp_path / "run" / "config.json").read_text())

    dataset = write_images(tmp_path / "images.npz")
    assert train(train_steps=1) == 0
    (tmp_path / "run" / "metrics.jsonl").unlink()
    assert train(train_steps=1) == 0
    assert [path.name for path in (tmp_path / "run" / "saved_model").iterdir()] == ["1"]
    assert train(train_steps=2) == 0
    saved = tf.saved_model.load(str(tmp_path / "run" / "saved_model" / "2"))
    images = np.random.RandomState(0).rand(3, 8, 8, 3).astype("float32")
    np.testing.assert_allclose(load_run(tmp_path / "run").model(images), saved(images), rtol=1e-4, atol=1e-5)

    before = config()
    for flags in ({"train_steps": 1}, {"train_steps": 3, "width_multiplier": 0.1667}):  # shorter, another network
        assert train(**flags) == 2
        assert config() == before


def test_a_run_of_ever_larger_weights_keeps_good_checkpoints_and_goes_back_to_one(tmp_path, capsys):
    """A huge rate makes each step's weights larger, until a gradient is no number."""
    dataset, run = write_images(tmp_path / "images.npz"), tmp_path / "run"

    def train(**flags):
        common = {"optimizer": "momentum", "warmup_epochs": 0, "checkpoint_steps": 1, "knn_epochs": 0, "norm": "group"}
        common |= {"keep_checkpoint_max": 50}
        code = main([*argv(dataset, run, **{**common, "train_steps": 20, **flags}), "--allow_config_change"])
        return code, [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]

    assert train(learning_rate=1e-3, train_steps=3) == (0, [])
    code, (line,) = train(learning_rate=1e10)
    assert code == 2
    checkpoints = sorted((run / "checkpoints").glob("*.index"), key=lambda path: int(path.stem.rpartition("-")[2]))
    last = int(checkpoints[-1].stem.rpartition("-")[2])
    assert 3 < last < 20  # by which step exactly is a matter of rounding
    for path in checkpoints:
        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        for name in reader.get_variable_to_shape_map():
            value = reader.get_tensor(name)
            assert not isinstance(value, np.ndarray) or np.isfinite(value).all(), f"{path}: {name}"
    # Of the newest one, the next step is no number at any rate: the one before is named.
    assert (
        f"of step {last - 1}. Go back to it, or further, with --restore_step={last - 1} --allow_config_change" in line
    )
    assert train(learning_rate=1e10)[0] == 2  # as it is: told again, nothing lost

    assert train(learning_rate=1e-3, restore_step=3) == (0, [])
    assert newest_step(str(run / "checkpoints")) == 20
    assert newest_step(str(run / "checkpoints.1")) == last
    assert [line["step"] for line in read_history(run / "metrics.jsonl")][-1] == 20
