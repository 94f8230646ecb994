"""Two real worker processes on this machine: they learn what one process does, and end together."""

import contextlib
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
import tensorflow as tf

from tests.commands.runs import words, write_images
from tests.workers.methods import CASES, learn

ROOT = pathlib.Path(__file__).parents[2]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def start(module, arguments_of):
    """Two workers as processes of their own: `python -m module` with the arguments of worker 0 and 1."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    processes = []
    for index in range(2):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, "-m", module, *map(str, arguments_of(index))]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
        processes.append(subprocess.Popen(command, env=environment, **options))
    return processes, addresses


def finish(processes):
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """What each of two workers ended with."""
    paths = [tmp_path_factory.mktemp("worker") / f"{index}.npz" for index in range(2)]
    processes, _ = start("tests.workers.methods", lambda index: [paths[index]])
    finish(processes)
    return [dict(np.load(path)) for path in paths]


@pytest.mark.parametrize("case", CASES)
def test_two_workers_learn_what_one_process_does(case, learned):
    for name, value in learn(case).items():
        for worker in learned:
            np.testing.assert_allclose(worker[f"{case}/{name}"], value, rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_queue_is_the_same_on_every_worker(learned):
    (name,) = (name for name in learned[0] if name.startswith("moco/") and name.endswith("queue/rows"))
    np.testing.assert_array_equal(learned[0][name], learned[1][name])


def newest(directory):
    reader = tf.train.load_checkpoint(tf.train.latest_checkpoint(directory))
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith(("model", "optimizer"))]
    return {name: reader.get_tensor(name) for name in names}


def test_a_worker_that_is_killed_ends_the_others_and_all_resume(tmp_path):
    dataset, run = write_images(tmp_path / "images.npz"), tmp_path / "run"
    flags = {"train_steps": 20, "checkpoint_steps": 4, "knn_epochs": 0, "learning_rate": 0.001, "seed": 3}

    def train(index):
        return [*words(dataset, run, strategy="multi_worker", **flags)]

    processes, addresses = start("tfcontrastive.commands.main", train)
    while not list((run / "checkpoints").glob("step-4.index")):
        assert [process.poll() for process in processes] == [None, None]
        time.sleep(0.01)
    processes[1].send_signal(signal.SIGKILL)
    _, errors = processes[0].communicate(timeout=120)
    assert processes[0].returncode == 1
    processes[1].communicate()
    (line,) = (line for line in errors.splitlines() if line.startswith("tfcontrastive: "))
    assert f"lost worker 1 ({addresses[1]})" in line

    processes, _ = start("tfcontrastive.commands.main", train)
    finish(processes)
    assert not list(tmp_path.glob("run.*"))
    assert len(list((run / "logs").iterdir())) == 2  # one file of each of the chief's two processes

    alone = subprocess.run(
        [sys.executable, "-m", "tfcontrastive.commands.main", *words(dataset, tmp_path / "alone", **flags)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=300,
    )
    assert alone.returncode == 0, alone.stderr
    expected = newest(tmp_path / "alone" / "checkpoints")
    for name, value in newest(run / "checkpoints").items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-5, atol=1e-5, err_msg=name)
