"""One process at a time in a directory, and nothing left behind by one that was killed."""

import subprocess
import sys
import threading
import time

import pytest

from tfcontrastive.config import InputError, LoopConfig, TrainConfig
from tfcontrastive.runs.pretrain import pretraining
from tfcontrastive.system.directory_lock import DirectoryLock

HOLD = """
import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(InputError, match=r"`model_dir` must be used by one process at a time\. Received: '"):
                DirectoryLock("model_dir", str(tmp_path)).take()
        finally:
            other.kill()
    with DirectoryLock("model_dir", str(tmp_path)) as lock:
        assert lock.held
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_comes_later_is_locked_then(tmp_path):
    path = tmp_path / "run"
    with DirectoryLock("model_dir", str(path)) as lock:
        assert not lock.held
        path.mkdir()
        lock.take()
        lock.take()  # once more does nothing
        with pytest.raises(InputError, match="one process at a time"):
            DirectoryLock("model_dir", str(path)).take()
    with DirectoryLock("model_dir", str(path)) as other:
        assert other.held


def test_a_directory_in_the_place_of_one_that_was_moved_aside(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    with DirectoryLock("model_dir", str(path)) as lock:
        path.rename(tmp_path / "run.1")
        path.mkdir()
        lock.take()
        with pytest.raises(InputError, match="one process at a time"):
            DirectoryLock("model_dir", str(path)).take()
        with DirectoryLock("model_dir", str(tmp_path / "run.1")) as other:  # nobody writes there any more
            assert other.held


def test_a_bucket_is_not_locked():
    lock = DirectoryLock("model_dir", "ram://runs/a")
    lock.take()
    assert not lock.held


def test_training_where_another_process_trains_is_refused_before_anything_is_read(tmp_path):
    run = pretraining(TrainConfig(loop=LoopConfig(model_dir=str(tmp_path), train_batch_size=2)), source=object())
    with DirectoryLock("model_dir", str(tmp_path)), pytest.raises(InputError, match="`model_dir` must be used by one"):
        run.train()


def test_one_that_waits_comes_next(tmp_path):
    order = []

    def later():
        with DirectoryLock("output_dir", str(tmp_path), wait=True):
            order.append("second")

    with DirectoryLock("output_dir", str(tmp_path)):
        thread = threading.Thread(target=later)
        thread.start()
        time.sleep(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
