"""Flags that change how steps are run, and must not change what is learned."""

import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import argv, start, write_images
from tfcontrastive.callbacks.checkpoints import passes
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.commands.main import main
from tfcontrastive.config import LoopConfig, TrainConfig
from tfcontrastive.runs.schedule import Plan


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images.npz")


def newest(run):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(run / "checkpoints"))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(("model", "optimizer"))]
    return {name: reader.get_tensor(name) for name in names}


def test_several_steps_an_execution_save_and_end_where_single_ones_do(tmp_path, dataset):
    flags = {"train_steps": 7, "checkpoint_steps": 2, "knn_epochs": 0, "eval_split": "train"}
    for together in (1, 3):
        run = tmp_path / f"run{together}"
        assert main(argv(dataset, run, steps_per_execution=together, **flags)) == 0
    saved = sorted(path.stem for path in (tmp_path / "run3" / "checkpoints").glob("*.index"))
    assert saved == [
        "step-3",
        "step-6",
        "step-7",
    ]  # the ends of executions that pass a multiple of 2, and the last step
    expected = newest(tmp_path / "run1")
    for name, value in newest(tmp_path / "run3").items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("first", [0, 4, 7, 20])
def test_segments_are_whole_executions_but_for_the_rest_of_an_epoch(first):
    plan = Plan.make(TrainConfig(loop=LoopConfig(train_batch_size=10, train_steps=32, steps_per_execution=3)), 100)
    assert plan.epoch_steps == 9  # ten batches of data, rounded to whole executions
    segments = plan.segments(first)
    assert all(length % 3 == 0 or length < 3 for _, _, length in segments)
    assert first + sum((last - begin) * length for begin, last, length in segments) == 32


def test_a_multiple_may_be_passed_between_two_calls():
    assert [step for step in range(3, 31, 3) if passes(step - 3, step, 10)] == [12, 21, 30]
    assert not passes(0, 100, 0)


def test_replicas_of_one_cpu_train_what_one_does_and_deterministic_runs_are_equal_to_the_bit(tmp_path, dataset):
    # A smaller step than the default's: what is compared is rounding, not a tiny network's chaos.
    flags = {"train_steps": 4, "learning_rate": 0.02, "knn_epochs": 0, "seed": 5, "eval_split": "train"}
    runs = [tmp_path / "one", tmp_path / "two"]
    for run in runs:  # each in a process of its own, which has one set of replicas
        process = start([*argv(dataset, run, num_virtual_replicas=2, **flags), "--deterministic"])
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    one, two = map(newest, runs)
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name], err_msg=name)

    assert main(argv(dataset, tmp_path / "alone", **flags)) == 0
    together, alone = (read_history(run / "metrics.jsonl")[-1] for run in (runs[0], tmp_path / "alone"))
    for name in ("loss", "probe_loss"):
        assert together[name] == pytest.approx(alone[name], abs=1e-4)
