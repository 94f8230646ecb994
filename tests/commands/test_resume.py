"""A run that was killed goes on as if nothing had happened; one that is to go on otherwise does so or is left as it is."""

import json
import signal
import time

import numpy as np
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


def test_a_killed_run_ends_with_the_weights_of_an_uninterrupted_one(tmp_path):
    dataset = write_images(tmp_path / "images.npz")
    flags = {"train_steps": STEPS, "checkpoint_steps": 7, "knn_epochs": 0}
    finish(start(words(dataset, tmp_path / "straight", **flags)))

    killed = start(words(dataset, tmp_path / "killed", **flags))
    checkpoints = tmp_path / "killed" / "checkpoints"
    while killed.poll() is None and not list(checkpoints.glob("step-14.index")):
        time.sleep(0.002)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    assert 0 < newest_step(str(checkpoints)) < STEPS

    finish(start(words(dataset, tmp_path / "killed", **flags)))
    straight, resumed = tensors(tmp_path / "straight" / "checkpoints"), tensors(checkpoints)
    assert straight.keys() == resumed.keys()
    for name, value in straight.items():
        np.testing.assert_array_equal(value, resumed[name], err_msg=name)
    straight, resumed = (read_history(tmp_path / run / "metrics.jsonl") for run in ("straight", "killed"))
    assert [line["step"] for line in resumed] == [line["step"] for line in straight]
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
