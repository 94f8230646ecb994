"""KeepBest: a trained encoder goes on, and the state that held-out images prefer is kept."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import distribute, storage
from tfcontrastive.callbacks.checkpoints import passes
from tfcontrastive.models.checkpoint import checkpoint_of, restore_weights

FILE = "selection.json"
"""What was measured, and which step was best."""

_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Reading:
    """What an encoder is worth on the images that choose.

    Attributes:
        scores: float `[N]`, of each image, the higher the better.
        metrics: by name.
    """

    scores: np.ndarray
    metrics: dict[str, float]


def gain(now: np.ndarray, before: np.ndarray) -> tuple[float, float]:
    """The mean difference of two scores of the same images, and its standard error.

    Args:
        now, before: float `[N]`, of the same images in the same order.

    Returns:
        (mean, standard error); that of a single image is infinite.

    Examples:
        >>> gain(np.array([1.0, 1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0]))
        (0.25, 0.25)
    """
    difference = np.asarray(now, np.float64) - np.asarray(before, np.float64)
    if len(difference) < 2:
        return float(difference.mean()), float("inf")
    return float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))


def weighed(
    step: int, now: Reading, before: Reading, *, certainty: float, floors: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """A measurement of a state against the encoder that it began as.

    Args:
        step: of the state.
        now, before: of the same images in the same order.
        certainty: standard errors of the gain that are taken from it; what remains is the worth.
        floors: `{metric: part}`: a state that does not keep this part of what there was does not count.

    Examples:
        >>> now, before = (Reading(np.array(scores), {"rank": 3.0}) for scores in ([1.0, 1.0], [0.0, 1.0]))
        >>> weighed(8, now, before, certainty=1.0, floors={"rank": 0.9})["worth"]
        0.0
    """
    mean, error = gain(now.scores, before.scores)
    return {
        "step": step,
        "gain": mean,
        "error": error,
        "worth": mean - certainty * error,
        "counts": all(now.metrics[name] >= part * before.metrics[name] for name, part in (floors or {}).items()),
        "metrics": now.metrics,
        "before": before.metrics,
    }


class KeepBest(keras.callbacks.Callback):
    """Measures an encoder every so often against itself as it was, and keeps the weights of its best state.

    A state's worth is its gain in score less `certainty` standard errors of that gain, over the same images. A state that
    lost too much of a metric in `floors` does not count. What was measured and the best weights are files, so that a run
    that was killed goes on with both.

    Args:
        read: measures an encoder on the images that choose.
        directory: of `selection.json` and `best/`.
        every_steps: steps between measurements; the last step is measured too.
        last_step: at which the run ends.
        certainty: standard errors.
        floors: `{metric: part}`: a state must keep this part of what the encoder had at first.

    Examples:
        >>> def read(encoder):
        ...     return Reading(np.ones(100), {"knn_top1": 1.0})
        >>> callback = KeepBest(read, "adapted", every_steps=100, last_step=800, certainty=1.64)
    """

    def __init__(
        self,
        read: Callable[[keras.Model], Reading],
        directory: str,
        *,
        every_steps: int,
        last_step: int,
        certainty: float,
        floors: Mapping[str, float] | None = None,
    ):
        super().__init__()
        self._read, self._directory = read, directory
        self.every_steps, self.last_step, self.certainty = every_steps, last_step, certainty
        self.floors = dict(floors or {})
        self.rows: list[dict[str, Any]] = _stored(os.path.join(directory, FILE))
        self.latest: dict[str, float] = _metrics(self.rows[-1]) if self.rows else {}
        self._before: Reading | None = None
        self._step = 0

    @property
    def best(self) -> dict[str, Any] | None:
        """The measurement of the best state; None where none counts."""
        counted = [row for row in self.rows if row["counts"]]
        return max(counted, key=lambda row: row["worth"]) if counted else None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self._step = distribute.step_of(self.model)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        before, self._step = self._step, distribute.step_of(self.model)
        due = passes(before, self._step, self.every_steps) or self._step == self.last_step
        if due and distribute.is_chief():
            self.measure()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None and self.latest and distribute.is_chief():
            logs.update(self.latest)

    def measure(self) -> dict[str, float]:
        """What the encoder is worth now, by the names that the logs have; keeps it where it is the best so far."""
        step = distribute.step_of(self.model)
        known = next((row for row in self.rows if row["step"] == step), None)
        if known is not None:  # before the run was killed; the step is the same
            self.latest = _metrics(known)
            return self.latest
        if self._before is None:
            self._before = self._read(self.model.start)
        now = self._read(self.model.encoder)
        row = weighed(step, now, self._before, certainty=self.certainty, floors=self.floors)
        self.rows.append(row)
        if self.best is row:
            self._keep(step)
        storage.write(
            os.path.join(self._directory, FILE), json.dumps({"format": _FORMAT, "measured": self.rows}, indent=1) + "\n"
        )
        self.latest = _metrics(row)
        return self.latest

    def restore(self, encoder: keras.Model) -> dict[str, Any] | None:
        """Gives an encoder the weights of the best state; returns its measurement, None where there is none."""
        best = self.best
        if best is not None:
            restore_weights(self._path(best["step"]), encoder)
        return best

    def _path(self, step: int) -> str:
        return os.path.join(self._directory, "best", f"step-{step}")

    def _keep(self, step: int) -> None:
        # The one before stays too: until what was measured is written down, it is the best.
        manager = tf.train.CheckpointManager(
            checkpoint_of(self.model.encoder, optimizer=False),
            os.path.join(self._directory, "best"),
            max_to_keep=2,
            checkpoint_name="step",
        )
        manager.save(checkpoint_number=step)


def _stored(path: str) -> list[dict[str, Any]]:
    return json.loads(storage.read_text(path))["measured"] if storage.exists(path) else []


def _metrics(row: Mapping[str, Any]) -> dict[str, float]:
    own = {f"selection_{name}": value for name, value in row["metrics"].items()}
    return {**own, "selection_gain": row["gain"], "selection_worth": row["worth"]}
