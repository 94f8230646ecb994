"""Summaries: TensorBoard scalars and pictures, and `metrics.jsonl` with a line an epoch."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import distribute, storage
from tfcontrastive.callbacks.checkpoints import passes
from tfcontrastive.callbacks.loggers import RunLogger

_OF_THE_OPTIMIZER = ("learning_rate",)


class Summaries(keras.callbacks.Callback):
    """Writes what the run knows about itself: each metric, the learning rate, images per second, the first views.

    TensorBoard shows them in groups: `train/`, `eval/` and `optimizer/`.

    Args:
        directory: TensorBoard logs go here.
        history: path of the JSON-lines file; lines after the step a run resumes from are dropped.
        batch_size: images per step, over all replicas.
        every_steps: steps between scalars; 0: only at the end of epochs.
        first_step: the step that the run starts from.
        logger: takes the same values, under the same names as TensorBoard.
    """

    def __init__(
        self,
        directory: str,
        history: str,
        *,
        batch_size: int,
        every_steps: int,
        first_step: int = 0,
        logger: RunLogger | None = None,
    ):
        super().__init__()
        self.logger = logger
        self.history = history
        self.batch_size = batch_size
        self.every_steps = every_steps
        self.chief = distribute.is_chief()
        self._since = (time.monotonic(), first_step)
        self._start = time.monotonic()
        self._seconds_before = 0.0
        self._compiled = False
        self._step = first_step
        self._trained: set[str] = {"images_per_second", "seconds"}  # the others are of an evaluation
        if self.chief:
            self.writer = tf.summary.create_file_writer(directory)
            kept = _drop_after(history, first_step)
            self._seconds_before = max(
                (line["seconds"] for line in kept if _is_number(line.get("seconds"))), default=0.0
            )

    def seconds(self) -> float:
        """How long the run has trained, in this process and those before it."""
        return self._seconds_before + time.monotonic() - self._start

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        before, self._step = self._step, distribute.step_of(self.model)
        step = self._step
        self._trained |= set(logs or {})
        if not self._compiled:  # the first step's time is that of tracing
            self._compiled, self._since = True, (time.monotonic(), step)
        elif self.chief and passes(before, step, self.every_steps):
            self._write(step, {**_floats(logs), **self._pace(step)})

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not self.chief:
            return
        step = distribute.step_of(self.model)
        values = {**_floats(logs), **self._pace(step), "seconds": self.seconds()}
        self._write(step, values)
        with tf.io.gfile.GFile(self.history, "a") as file:
            file.write(json.dumps({"step": step, "epoch": epoch + 1, **values}) + "\n")

    def write_views(self, views: Sequence[np.ndarray | tf.Tensor], step: int) -> None:
        """Pictures of augmented views: V arrays `[n, H, W, C]` in [0, 1], shown one above the other."""
        if not self.chief:
            return
        widest = max(view.shape[2] for view in views)
        pads = [[(0, 0), (0, 0), (0, widest - view.shape[2]), (0, 0)] for view in views]
        pairs = np.concatenate([np.pad(view, pad) for view, pad in zip(views, pads, strict=True)], axis=1)
        if pairs.shape[-1] not in (1, 3):
            pairs = pairs[..., :1]
        with self.writer.as_default(step=step):
            tf.summary.image("train/augmented_views", pairs, max_outputs=8)
        self.writer.flush()

    def _pace(self, step: int) -> dict[str, float]:
        now = time.monotonic()
        seconds, steps = now - self._since[0], step - self._since[1]
        self._since = (now, step)
        rate = {"images_per_second": steps * self.batch_size / seconds} if steps and seconds > 0 else {}
        return {**rate, "learning_rate": distribute.learning_rate_of(self.model)}

    def _write(self, step: int, values: dict[str, float]) -> None:
        tagged = {self._tag(name): value for name, value in values.items()}
        with self.writer.as_default(step=step):
            for name, value in tagged.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
        if self.logger is not None:
            self.logger.metrics(step, tagged)

    def _tag(self, name: str) -> str:
        """A value's name in TensorBoard, which makes a group of what comes before the stroke."""
        if name in _OF_THE_OPTIMIZER:
            return f"optimizer/{name}"
        return f"train/{name}" if name in self._trained else f"eval/{name}"


def read_history(path: str) -> list[dict[str, float]]:
    """The lines of `metrics.jsonl`, oldest first; a last line that a kill cut short is left out, and so are lines that are
    no records, with a warning."""
    if not storage.exists(path):
        return []
    *whole, _ = storage.read_bytes(path).split(b"\n")
    records = [_record(line) for line in whole]
    bad = [str(number) for number, record in enumerate(records, 1) if record is None]
    if bad:
        shown = ", ".join(bad[:10]) + (", ..." if len(bad) > 10 else "")
        logging.warning("%s: %d of its lines are no records and are left out: %s.", path, len(bad), shown)
    return [record for record in records if record is not None]


def _record(line: bytes) -> dict[str, float] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and type(record.get("step")) is int else None


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _drop_after(path: str, step: int) -> list[dict[str, float]]:
    """Drops the lines after a step, and what is no record; a file that held such things is kept aside."""
    history = read_history(path)
    kept = [line for line in history if line["step"] <= step]
    if storage.exists(path) and storage.read_bytes(path).count(b"\n") != len(history):
        tf.io.gfile.copy(path, storage.free_name(path))
    storage.write(path, "".join(json.dumps(line) + "\n" for line in kept))
    return kept


def _floats(logs: dict[str, Any] | None) -> dict[str, float]:
    return {name: float(np.mean(value)) for name, value in (logs or {}).items()}
