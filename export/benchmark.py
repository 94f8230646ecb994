"""Which artefact, with which setting, is the fastest on this machine."""

from __future__ import annotations

import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.export import benchmark_worker
from tfcontrastive.export.model_card import read_card
from tfcontrastive.pretrained.trained import latest_version
from tfcontrastive.system import onednn

NAMES = {"saved_model": "SavedModel", "onnx": "ONNX Runtime", "tflite": "LiteRT, XNNPACK"}
_ROUNDS = 5
_START_SECONDS = 120.0
_CALL_SECONDS = 60.0  # of one call, at most
_LEAST_SIMILARITY = 0.98  # of vectors that are the same model's, also in int8


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast one artefact is with one setting.

    Attributes:
        artefact: saved_model, onnx or tflite.
        setting: in words, such as `oneDNN on`.
        environment: variables that the setting needs, as TensorFlow Serving takes them too.
        images_per_second: the median of the rounds; None where it did not run.
        similarity: the least cosine similarity of its vectors to those of the SavedModel.
        problem: why it did not run, or cannot be compared; empty where it did.
    """

    artefact: str
    setting: str
    environment: dict[str, str]
    images_per_second: float | None
    similarity: float | None
    problem: str = ""


@dataclasses.dataclass(frozen=True)
class _Candidate:
    artefact: str
    path: str
    setting: str
    environment: dict[str, str]
    xla: bool = False
    threads: int = 0


def benchmark_export(
    saved_model: str | os.PathLike,
    files: Sequence[str | os.PathLike] = (),
    *,
    batch_size: int = 1,
    seconds: float = 30.0,
) -> list[Speed]:
    """Times an export, and files that were made of it, with the settings that matter on a CPU, for one size of batch.

    Of the SavedModel: oneDNN on and off, one thread in place of all, and XLA. Each runs in a process of its own, one after
    the other in several rounds, so that a machine that others use is unfair to all alike; the median of the rounds counts.

    Args:
        saved_model: what `save_model` wrote, or the base of its versions (the highest is timed).
        files: `.onnx` and `.tflite` files, as `to_onnx` and `to_tflite` write them.
        batch_size: images a call, at least 1.
        seconds: of measuring, of all together; one call of the slowest may pass it. Each process has two minutes to start.

    Returns:
        One `Speed` each, the fastest first, those that did not run last.

    Raises:
        InputError: for a bad value, or where there is no SavedModel.

    Examples:
        >>> for speed in benchmark_export("exported", batch_size=1, seconds=2.0):
        ...     print(speed.setting, speed.images_per_second)
    """
    if batch_size < 1:
        raise InputError(f"`batch_size` must be >= 1. Received: batch_size={batch_size}.")
    if not 0 < seconds < float("inf"):
        raise InputError(f"`seconds` must be above 0 and finite. Received: seconds={seconds}.")
    path = latest_version(saved_model)
    shape = [batch_size, *_image_shape(path)]
    candidates = _candidates(path, [os.fspath(file) for file in files])
    workers: list[_Worker] = []
    try:
        for each in candidates:
            workers.append(_Worker(each, shape, _START_SECONDS))
        _take_turns(workers, time.monotonic() + seconds)
    finally:
        for worker in workers:
            worker.close()
    expected = next((worker.vectors for worker in workers if worker.vectors is not None), None)
    found = [worker.speed(batch_size, expected) for worker in workers]
    return sorted(found, key=lambda speed: -(speed.images_per_second or 0.0))


def _candidates(path: str, files: Sequence[str]) -> list[_Candidate]:
    off, on = {onednn.VARIABLE: "0"}, {onednn.VARIABLE: "1"}
    found = [
        _Candidate("saved_model", path, "oneDNN off", off),
        _Candidate("saved_model", path, "oneDNN on", on),
        _Candidate("saved_model", path, "XLA", off, xla=True),
    ]
    if (os.cpu_count() or 1) > 1:
        found[2:2] = [
            _Candidate("saved_model", path, f"{each.setting}, one thread", each.environment, threads=1)
            for each in found[:2]
        ]
    for file in files:
        kind = os.path.splitext(file)[1].removeprefix(".")
        if kind not in ("onnx", "tflite") or not os.path.isfile(file):
            raise InputError(f"`files` must be .onnx or .tflite files. Received: {file!r}.")
        found.append(_Candidate(kind, file, os.path.basename(file), {}))
    return found


def _image_shape(path: str) -> list[int]:
    card = read_card(path)
    try:
        rule = card["preprocessing"]
        return [rule["image_size"], rule["image_size"], rule["channels"]]
    except KeyError:
        raise InputError(f"`saved_model` must be written by tfcontrastive. Received: {path}.") from None


def _take_turns(workers: Sequence[_Worker], deadline: float) -> None:
    ready = [worker for worker in workers if not worker.problem]
    for worker in ready:
        worker.run(1, deadline)
    ready = [worker for worker in ready if worker.seconds]
    turn = (deadline - time.monotonic()) / max(1, len(ready) * _ROUNDS)
    counts = [max(1, int(turn / worker.seconds[0])) for worker in ready]
    for _ in range(_ROUNDS):
        for worker, calls in zip(ready, counts, strict=True):
            if not worker.problem and time.monotonic() < deadline:
                worker.run(calls, deadline)


class _Worker:
    """A process that runs one candidate."""

    def __init__(self, candidate: _Candidate, shape: list[int], timeout: float):
        self._candidate = candidate
        self.vectors: np.ndarray | None = None
        self.seconds: list[float] = []  # of one call, a round each
        self.problem = ""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  what its libraries print, until `close`
        command = [sys.executable, benchmark_worker.__file__, candidate.artefact, candidate.path, json.dumps(shape)]
        command += [str(candidate.xla), str(candidate.threads)]
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **candidate.environment}
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        answer = self._answer(timeout)
        if answer is not None:
            self.vectors = np.asarray(answer, np.float64)

    def run(self, calls: int, deadline: float) -> None:
        """Times so many calls."""
        self._process.stdin.write(f"{calls}\n")
        self._process.stdin.flush()
        seconds = self._answer(_CALL_SECONDS + max(0.0, deadline - time.monotonic()))
        if seconds is not None:
            self.seconds.append(seconds / calls)

    def speed(self, batch_size: int, expected: np.ndarray | None) -> Speed:
        """What was found."""
        each, rate, similarity, problem = self._candidate, None, None, self.problem
        if self.vectors is not None and expected is not None:
            similarity = _similarity(self.vectors, expected)
            if similarity < _LEAST_SIMILARITY and not problem:
                problem = f"its vectors are other ones (cosine similarity {similarity:.3f})"
        if self.seconds and not problem:
            rate = batch_size / statistics.median(self.seconds)
        return Speed(each.artefact, each.setting, each.environment, rate, similarity, problem)

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            stream.close()

    def _answer(self, timeout: float) -> Any:
        """The next line, None where the process has ended or was ended because of the time."""
        late = threading.Event()

        def end():
            late.set()
            self._process.kill()

        timer = threading.Timer(timeout, end)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if line.endswith("\n"):
            return json.loads(line)
        if late.is_set() and self.seconds:  # the rounds before count
            return None
        if late.is_set():
            self.problem = f"took longer than {timeout:.0f} s"
        else:
            self._log.seek(0)
            last = self._log.read().decode(errors="replace").strip().rpartition("\n")[2]
            missing = last.removeprefix("ModuleNotFoundError: No module named ").strip("'")
            self.problem = f"{missing} is not installed" if last.startswith("ModuleNotFoundError") else last[:200]
        return None


def _similarity(received: np.ndarray, expected: np.ndarray) -> float:
    if received.shape != expected.shape:
        return -1.0
    lengths = np.linalg.norm(received, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((received * expected).sum(1) / np.maximum(lengths, 1e-30)).min())
