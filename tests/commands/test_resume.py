"""A run that was killed goes on as if nothing had happened; one that is to go on otherwise does so or is left as it is."""

import json
import re
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import start, words, write_images
from tfcontrastive.callbacks.checkpoints import newest_step
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.commands.main import main
from tfcontrastive.export import load_run

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
    return [{name: value for name, value in line.items() if name not in ("seconds", "images_per_second")} for line in lines]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(number, tmp_path):
    dataset = write_images(tmp_path / "images.npz")
    flags = {"train_steps": STEPS, "checkpoint_steps": 7, "knn_epochs": 0}
    assert main(words(dataset, tmp_path / "straight", **flags)) == 0

    killed = start(words(dataset, tmp_path / "killed", **flags))
    checkpoints = tmp_path / "killed" / "checkpoints"
    while killed.poll() is None and not list(checkpoints.glob("step-14.index")):
        time.sleep(0.002)
    killed.send_signal(number)
    _, errors = killed.communicate()
    step = newest_step(str(checkpoints))
    assert 0 < step < STEPS
    if number == signal.SIGKILL:
        assert killed.returncode == -number
    else:
        assert killed.returncode == 128 + number
        (line,) = (line for line in errors.splitlines() if line.startswith("tfcontrastive: "))
        assert line.startswith(f"tfcontrastive: stopped by SIGTERM: step {step} is saved in {checkpoints}. Start the same")

    finish(start(words(dataset, tmp_path / "killed", **flags)))
    straight, resumed = tensors(tmp_path / "straight" / "checkpoints"), tensors(checkpoints)
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
    assert records(tmp_path / "killed") == records(tmp_path / "straight")  # of epochs that were resumed, too
    assert (tmp_path / "killed" / "saved_model" / "1" / "saved_model.pb").exists()


def test_a_run_that_goes_on_longer_exports_its_new_weights(tmp_path):
    def train(**flags):
        return main([*words(dataset, tmp_path / "run", knn_epochs=0, **flags), "--allow_config_change"])

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
    for flags in ({"train_steps": 1}, {"train_steps": 3, "width_multiplier": 0.125}):  # shorter, another network
        assert train(**flags) == 2
        assert config() == before


def test_a_run_of_ever_larger_weights_keeps_good_checkpoints_and_goes_back_to_one(tmp_path, capsys):
    """Without batch norm, a huge rate makes each step's weights larger, until the next gradient is no number."""
    dataset, run = write_images(tmp_path / "images.npz"), tmp_path / "run"
    flags = {"optimizer": "momentum", "learning_rate": 1e8, "warmup_epochs": 0, "checkpoint_steps": 1, "train_steps": 20}
    flags |= {"norm": "group", "knn_epochs": 0, "keep_checkpoint_max": 50}
    assert main(words(dataset, run, **flags)) == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: "))
    checkpoints = sorted((run / "checkpoints").glob("*.index"), key=lambda path: int(path.stem.rpartition("-")[2]))
    assert len(checkpoints) > 1
    for path in checkpoints:
        reader = tf.train.load_checkpoint(str(path.with_suffix("")))
        for name in reader.get_variable_to_shape_map():
            value = reader.get_tensor(name)
            assert not isinstance(value, np.ndarray) or np.isfinite(value).all(), f"{path}: {name}"
    step = int(re.search(r"--restore_step=(\d+) --allow_config_change", line)[1])
    assert step == int(checkpoints[-2].stem.rpartition("-")[2])  # of the last one, the next step is no number

    assert main(words(dataset, run, **flags)) == 2  # as it is: no traceback, nothing lost
    flags |= {"learning_rate": 1e-9, "restore_step": step}
    assert main([*words(dataset, run, **flags), "--allow_config_change"]) == 0
    assert newest_step(str(run / "checkpoints")) == 20
    assert newest_step(str(run / "checkpoints.1")) == step + 1
