"""Two real worker processes of `tfcontrastive train` on this machine learn what one process does, and end together."""

import contextlib
import functools
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.commands.runs import RESNET, argv, write_images
from tests.workers.command import run
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.models.checkpoint_files import newest_step, steps_in
from tfcontrastive.runs.model_dir import ModelDir

ROOT = pathlib.Path(__file__).parents[2]
# Rounding grows with the steps, most where a ReLU within 1e-7 of its kink flips: by other kernels of convolution one
# process alone is 3.6e-5 away from itself in ReLIC after 8 steps at a rate of .001, and 1.4e-6 at .0001; in MoCo 2e-5
# after 12 at .001, and 2e-6 after 8.
CASES = {
    "simclr": {},
    "moco": {"queue_size": 48, "global_bn": True, "train_steps": 8},
    "relic": {"critic_hidden_dim": 256, "train_steps": 8, "learning_rate": 0.0001, **RESNET, "whiten_features": True},
}
FLAGS = {"train_steps": 20, "checkpoint_steps": 4, "knn_epochs": 0, "learning_rate": 0.001, "seed": 3}
MEASURED = ("loss", "alignment", "probe_loss")
IMAGES, BATCH = 64, 16  # of `write_images` and `argv`


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def start(commands):
    """A worker for each command, `python -m ...`, as a process of its own."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(len(commands))]
    processes = []
    for index, command in enumerate(commands):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"}
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        processes.append(subprocess.Popen([sys.executable, "-m", *map(str, command)], env=environment, **options))
    return processes, addresses


def finish(processes):
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images.npz")


@pytest.fixture(scope="module")
def runs(dataset, tmp_path_factory):
    """case -> one run in this process, and the same by two workers: (alone, [worker 0, worker 1])."""

    @functools.cache
    def both(case):
        path = tmp_path_factory.mktemp(case)
        outputs = [path / f"{index}.npz" for index in range(2)]
        command = train(dataset, path / "together", case, strategy="multi_worker")
        finish(start([["tests.workers.command", output, *command] for output in outputs])[0])
        alone = run(train(dataset, path / "alone", case)), losses(path / "alone", case)
        return alone, [(dict(np.load(output)), losses(path / "together", case)) for output in outputs]

    return both


def train(dataset, model_dir, case, **flags):
    return argv(dataset, model_dir, method=case, **{**FLAGS, **CASES[case], **flags})


def losses(model_dir, case):
    """What every epoch of a run measured."""
    lines = read_history(ModelDir(model_dir).history)
    assert len(lines) == {**FLAGS, **CASES[case]}["train_steps"] * BATCH // IMAGES
    return [[line[name] for name in MEASURED] for line in lines]


def assert_same(found, expected):
    """The same variables, in order, and the same losses, to 1e-5; the root of a covariance to 1e-5 of its largest entry."""
    (variables, measured), (others, measured_there) = found, expected
    np.testing.assert_allclose(measured, measured_there, rtol=1e-5, atol=1e-5)
    for value, (name, other) in zip(variables.values(), others.items(), strict=True):
        size = np.abs(other).max() if name.endswith("feature_whitening/kernel") else 1.0
        np.testing.assert_allclose(value / size, other / size, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("case", ["moco", "relic"])  # SimCLR's are stopped, killed and resumed, below
def test_two_workers_learn_what_one_process_does(case, runs):
    alone, workers = runs(case)
    for worker in workers:
        assert_same(worker, alone)


def test_workers_with_other_flags_all_end_with_one_line_that_names_them(dataset, tmp_path):
    commands = [train(dataset, tmp_path / "run", "simclr", strategy="multi_worker", temperature=t) for t in (0.1, 0.2)]
    processes, addresses = start([["tfcontrastive.commands.main", *command] for command in commands])
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 2, errors
        (line,) = (line for line in errors.splitlines() if line.startswith("tfcontrastive: "))
        assert f"temperature=0.1 on worker 0 ({addresses[0]}); temperature=0.2 on worker 1 ({addresses[1]})" in line
    assert not (tmp_path / "run").exists()


def test_the_queue_is_the_same_on_every_worker(runs):
    _, ((first, _), (second, _)) = runs("moco")
    (name,) = (name for name in first if name.endswith("queue/rows"))
    np.testing.assert_array_equal(first[name], second[name])


def started(command, directory, step):
    """Two workers that train, once a checkpoint of that step or a later one is there."""
    processes, addresses = start([["tfcontrastive.commands.main", *command]] * 2)
    while max(steps_in(str(directory / "checkpoints")), default=0) < step:
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.01)
    return processes, addresses


def test_a_signal_to_one_ends_all_at_one_step_one_that_is_killed_ends_the_others_and_all_resume(dataset, tmp_path):
    directory = tmp_path / "run"
    command = train(dataset, directory, "simclr", strategy="multi_worker", checkpoint_steps=1)
    processes, _ = started(command, directory, 2)
    processes[1].send_signal(signal.SIGTERM)
    for process in processes:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 143, errors
        stopped_at = newest_step(str(directory / "checkpoints"))
        assert f"stopped by SIGTERM: step {stopped_at} is saved" in errors

    processes, addresses = started(command, directory, stopped_at + 1)
    processes[1].send_signal(signal.SIGKILL)
    _, errors = processes[0].communicate(timeout=120)
    assert processes[0].returncode == 1
    processes[1].communicate()
    (line,) = (line for line in errors.splitlines() if line.startswith("tfcontrastive: "))
    assert f"lost worker 1 ({addresses[1]})" in line

    outputs = [tmp_path / f"{index}.npz" for index in range(2)]
    finish(start([["tests.workers.command", output, *command] for output in outputs])[0])
    assert not list(tmp_path.glob("run.*"))
    assert len(list((directory / "logs").iterdir())) == 3  # one file of each of the chief's three processes
    alone = run(train(dataset, tmp_path / "alone", "simclr")), losses(tmp_path / "alone", "simclr")
    for output in outputs:
        assert_same((dict(np.load(output)), losses(directory, "simclr")), alone)
