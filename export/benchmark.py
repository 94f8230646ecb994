"""Which runtime, and which of its settings, embeds fastest on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import json
import os
import queue
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.export.model_card import described_signatures, meta_graph, read_card
from tfcontrastive.pretrained.trained import latest_version

ONEDNN, THREADS = "TF_ENABLE_ONEDNN_OPTS", "TF_NUM_INTRAOP_THREADS"

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "timing_worker.py")
_RUNTIMES = {"onnx": ("ONNX", "onnxruntime"), "tflite": ("LiteRT", "ai_edge_litert")}
_START = 90.0  # seconds for a runtime to import itself, load a model and embed a batch twice
_SHARE = 0.03  # of the images per second: less is not worth another setting


@dataclasses.dataclass(frozen=True)
class Timing:
    """How fast one artefact was with one setting.

    Args:
        artefact: SavedModel, ONNX or LiteRT, with its file.
        settings: the environment that it ran in, or `threads`, the option of a runtime that reads no variable.
        images_per_second: the median over rounds; None where it gave no answer.
        milliseconds: of one batch.
        cosine: similarity of its vector with that of the SavedModel.
        error: why it gave none.
    """

    artefact: str
    settings: Mapping[str, str]
    images_per_second: float | None = None
    milliseconds: float | None = None
    cosine: float | None = None
    error: str = ""


def benchmark_export(
    saved_model: str | os.PathLike, *, batch_size: int = 1, seconds: float = 30.0, image_size: int | None = None
) -> list[Timing]:
    """Times an export and the files beside it on this machine, with each setting that matters.

    The SavedModel runs with and without oneDNN, each on one core and on all; `.onnx` and `.tflite` files in its directory,
    or in the base of its versions, run where onnxruntime or ai-edge-litert is installed. Each is a process of its own,
    since these settings are read once, and they take turns, so that a busy machine is busy for all of them.

    Args:
        saved_model: what `save_model` wrote, or the base of its versions (the highest is taken).
        batch_size: images in a request.
        seconds: to measure for, all of them together; what has not started after 90 s more is left out.
        image_size: in pixels; None takes the export's own.

    Returns:
        A `Timing` for each, the fastest first, and those that failed last.

    Raises:
        InputError: for a wrong argument, or no SavedModel.

    Examples:
        >>> fastest = benchmark_export("exported", batch_size=2, seconds=1)[0]
        >>> fastest.images_per_second > 0
        True
    """
    if batch_size < 1 or not 0 < seconds <= 3600:
        raise InputError(
            "`batch_size` must be >= 1, and `seconds` > 0, 3600 at most. Received: "
            f"batch_size={batch_size}, seconds={seconds}."
        )
    path = latest_version(saved_model)
    shape = (batch_size, *_image_shape(path, image_size))
    workers: list[_Worker] = []
    try:
        for artefact, kind, file, settings in _rows(path):
            workers.append(_Worker(artefact, kind, file, settings, shape))
            workers[-1].start()
        running = [worker for worker in workers if worker.vector is not None]
        end = time.monotonic() + seconds
        calls = {
            worker: max(1, round(seconds / 10 / len(running) / max(worker.run(1, end), 1e-6))) for worker in running
        }
        for worker in running:
            worker.rates = worker.rates if calls[worker] == 1 else []  # the first call of a round of many is no round
        while time.monotonic() < end and any(not worker.error for worker in running):
            for worker in running:
                if not worker.error and (time.monotonic() < end or not worker.rates):
                    worker.run(calls[worker], end)
    finally:
        for worker in workers:
            worker.close()
    first = next((worker.vector for worker in workers if worker.vector is not None), None)
    return sorted((worker.timing(first) for worker in workers), key=lambda timing: -(timing.images_per_second or -1))


def advice(timings: Sequence[Timing], batch_size: int) -> str:
    """One line that says what to set. A setting that gains less than 3% over leaving it alone is not worth a word."""
    best = [timing for timing in timings if timing.images_per_second]
    if not best:
        return "Nothing answered: run serve-check without --benchmark to see why."
    top = best[0].images_per_second or 0.0
    near = [timing for timing in best if (timing.images_per_second or 0.0) >= (1 - _SHARE) * top]
    chosen = min(near, key=lambda timing: (not timing.artefact.startswith("SavedModel"), len(timing.settings)))
    set_to = " ".join(f"{name}={value}" for name, value in chosen.settings.items())
    text = f"For batches of {batch_size}, take {chosen.artefact}{f' with {set_to}' if set_to else ''}"
    return f"{text}: {chosen.images_per_second:.4g} images/s here."


def fastest_saved_model(timings: Sequence[Timing]) -> Timing | None:
    """The fastest setting of the SavedModel, which is what a server of it can be given; None where it did not run."""
    return next((each for each in timings if each.artefact == "SavedModel" and each.images_per_second), None)


def _image_shape(path: str, image_size: int | None) -> tuple[int, int, int]:
    spec = described_signatures(meta_graph(path)).get("serving_default", {}).get("inputs", {}).get("images")
    if spec is None:
        raise InputError(f"`saved_model` must be written by save_model. Received: {path}.")
    _, height, width, channels = spec["shape"]
    size = image_size or read_card(path).get("preprocessing", {}).get("image_size") or 224
    sides = (height or size, width or size)
    if image_size is not None and sides != (image_size, image_size):
        raise InputError(f"`image_size` must be what the model takes, {sides[0]} x {sides[1]}. Received: {image_size}.")
    return (*sides, channels)


def _rows(path: str) -> list[tuple[str, str, str, dict[str, str]]]:
    """(artefact, kind, file, settings) of all that can be timed; the first of each kind leaves everything alone."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    counts = ["", "1"] if cores > 1 else [""]
    rows = [
        ("SavedModel", "saved_model", path, {ONEDNN: onednn, **({THREADS: count} if count else {})})
        for onednn in ("0", "1")
        for count in counts
    ]
    for folder in dict.fromkeys([path, os.path.dirname(path)]):
        for name in storage.names_in(folder):
            kind = name.rpartition(".")[2]
            if kind in _RUNTIMES and importlib.util.find_spec(_RUNTIMES[kind][1]):
                file = os.path.join(folder, name)
                rows += [
                    (f"{_RUNTIMES[kind][0]} {name}", kind, file, {"threads": count} if count else {})
                    for count in counts
                ]
    return rows


class _Worker:
    """One process, and what is known of it. It is killed where an answer takes longer than it may."""

    def __init__(self, artefact: str, kind: str, file: str, settings: dict[str, str], shape: tuple[int, ...]):
        self._artefact, self._settings, self._batch = artefact, settings, shape[0]
        self.rates: list[float] = []
        self.vector: np.ndarray | None = None
        self.error = ""
        kept = {name: value for name, value in os.environ.items() if name not in (ONEDNN, THREADS)}
        threads = settings.get(THREADS, settings.get("threads", "0"))  # 0: as the runtime chooses
        # -P: the folder of the worker's file has modules of common names.
        self._process = subprocess.Popen(
            [sys.executable, "-P", _WORKER, kind, file, ",".join(map(str, shape))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**kept, "TF_CPP_MIN_LOG_LEVEL": "3", **settings, THREADS: threads},
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def start(self) -> None:
        """Waits until it has embedded a batch."""
        answer = self._answer(_START)
        if "vector" in answer:
            self.vector = np.array(answer["vector"])

    def run(self, calls: int, end: float) -> float:
        """The seconds of one call, of so many; it may take a last round beyond the end, but not long."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(f"{calls}\n")
            self._process.stdin.flush()
        answer = self._answer(max(end - time.monotonic(), 0.0) + 10)
        if "seconds" not in answer:
            return float("inf")
        self.rates.append(calls * self._batch / answer["seconds"])
        return answer["seconds"] / calls

    def timing(self, first: np.ndarray | None) -> Timing:
        """The row of the table."""
        if self.error or not self.rates or self.vector is None or first is None:
            return Timing(self._artefact, self._settings, error=self.error or "no answer in time")
        rate = statistics.median(self.rates)
        if self.vector.shape != first.shape:
            width = f"its vectors have {len(self.vector)} numbers, the SavedModel's {len(first)}"
            return Timing(self._artefact, self._settings, error=f"{width}: it is another model")
        lengths = float(np.linalg.norm(self.vector) * np.linalg.norm(first))
        cosine = float(self.vector @ first) / lengths if lengths else 1.0
        return Timing(self._artefact, self._settings, rate, 1e3 * self._batch / rate, cosine)

    def close(self) -> None:
        """Ends the process."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.kill()
        self._process.wait()

    def _answer(self, patience: float) -> dict[str, Any]:
        try:
            answer = json.loads(self._lines.get(timeout=patience) or "{}")
        except queue.Empty:
            answer = {"error": f"no answer in {patience:.0f} s"}
        if answer.keys() <= {"error"}:
            self.error = answer.get("error") or f"it ended with code {self._process.wait()}"
            self._process.kill()
        return answer

    def _read(self) -> None:
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")
