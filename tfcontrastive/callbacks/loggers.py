"""Loggers of the user's own, MLflow and Weights & Biases, beside TensorBoard's logs: params, metrics by step, the page.

Both have Keras callbacks; these count steps anew in every process and start a new run where a training goes on, so the plain
clients are used. A logger is never worth a run: what cannot reach it waits and is sent later, one line says so, and
metrics.jsonl and TensorBoard's logs hold everything anyhow. Only a run that has not begun is refused.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.config.values import parse_log_to
from tfcontrastive.system.extras import from_extra

FILE = "logger.json"
"""Of a run's directory: `{"log_to", "run": its id there}`."""

RETRY_SECONDS = 60.0
"""After a failure, before a logger is tried again."""

PROJECT = "tfcontrastive"
"""The experiment or project where the user names none, by MLFLOW_EXPERIMENT_NAME or WANDB_PROJECT."""

_MODULES = {"mlflow": "mlflow", "wandb": "wandb"}


class Backend(Protocol):
    """One run in a logger."""

    run: str
    """Its id."""

    def send(self, rows: list[tuple[int, float, Mapping[str, float]]]) -> None:
        """Metrics: (step, seconds since the epoch, {name: value})."""

    def attach(self, path: str) -> None:
        """A file of the run."""

    def end(self, status: str) -> None:
        """status: "finished", "stopped" or "failed"."""


def check_logger(log_to: str | None) -> None:
    """Refuses a logger whose package is not installed.

    Raises:
        InputError: with the command that installs it.
    """
    if log_to is not None:
        _module(parse_log_to(log_to)[0], log_to)


class RunLogger:
    """What one training sends to a logger.

    Args:
        log_to: `mlflow:URI`, `wandb` or `wandb:PROJECT`.
        directory: of the training, where its run's id is kept: one that goes on continues its run.
        params: of the training, {name: value}.
        may_fail: whether a logger that cannot be reached is only warned of, as when a training goes on.

    Raises:
        InputError: its package is missing, or it cannot be reached and `may_fail` is False.
    """

    def __init__(self, log_to: str, directory: str, params: Mapping[str, Any], *, may_fail: bool):
        self.log_to, self.directory, self.params = log_to, directory, params
        check_logger(log_to)
        self._backend: Backend | None = None
        self._waiting: list[tuple[int, float, Mapping[str, float]]] = []
        self._next_try, self._warned = 0.0, False
        try:
            self._open()
        except Exception as error:  # each client has errors of its own
            if not may_fail:
                raise InputError(
                    f"`log_to` must be a logger that can be reached when a run begins. Received: {log_to}: {_line(error)}. "
                    "Nothing was trained; the same command starts it."
                ) from error
            self._failed(error)

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Sends values of a step, and what waits; keeps them where that fails."""
        self._waiting.append((step, time.time(), values))
        if time.monotonic() >= self._next_try:
            self._flush()

    def finish(self, status: str) -> None:
        """Ends this training's part of the run; says what never arrived.

        Args:
            status: "finished", "stopped" or "failed".
        """
        self._flush()
        if self._waiting:
            logging.warning(
                "%s did not get the metrics of %d of its steps, from step %d on: metrics.jsonl and the TensorBoard logs "
                "have them.", self.log_to, len(self._waiting), self._waiting[0][0],
            )  # fmt: skip
        self._try(lambda backend: backend.end(status))

    def _open(self) -> Backend:
        if self._backend is None:
            self._backend = _backend(self.log_to, self.directory, self.params)
        return self._backend

    def _flush(self) -> None:
        rows = list(self._waiting)
        if rows and self._try(lambda backend: backend.send(rows)):
            self._waiting.clear()

    def _try(self, action: Callable[[Backend], None]) -> bool:
        try:
            action(self._open())
        except Exception as error:
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        self._next_try = time.monotonic() + RETRY_SECONDS
        if not self._warned:
            self._warned = True
            logging.warning("%s: %s. Training goes on, and it is tried again.", self.log_to, _line(error))


def attach_page(log_to: str | None, directory: str, path: str) -> None:
    """Gives the page of a finished training to its logger's run; a failure is one warning.

    Args:
        log_to: as of the training; None: nothing is done.
        directory: of the training.
        path: of the page.
    """
    if log_to is None or not storage.exists(os.path.join(directory, FILE)):
        return
    try:
        backend = _backend(log_to, directory, {})
        backend.attach(path)
        backend.end("finished")
    except Exception as error:
        logging.warning("%s did not get %s: %s.", log_to, path, _line(error))


def _backend(log_to: str, directory: str, params: Mapping[str, Any]) -> Backend:
    """The run in the logger that belongs to a directory, made where there is none yet."""
    kind, target = parse_log_to(log_to)
    module, place = _module(kind, log_to), os.path.join(directory, FILE)
    known = json.loads(storage.read_text(place)) if storage.exists(place) else {}
    run = known.get("run") if known.get("log_to") == log_to else None
    makers: dict[str, Callable[..., Backend]] = {"mlflow": _Mlflow, "wandb": _Wandb}
    made = makers[kind](module, target, run, _name(directory), params, directory)
    if run is None:
        storage.write(place, json.dumps({"log_to": log_to, "run": made.run}) + "\n")
    return made


def _name(directory: str) -> str:
    """What a run is called: its directory, after that of the run which it is a part of."""
    if "://" in directory:
        return directory
    home, name = os.path.split(os.path.abspath(directory))
    return f"{os.path.basename(home)}/{name}" if storage.exists(os.path.join(home, FILE)) else name


class _Mlflow:
    """A run of MLflow's tracking."""

    _PARAMS, _METRICS, _LONGEST = 100, 1000, 500  # of one call, and of a value

    def __init__(self, mlflow: Any, uri: str, run: str | None, name: str, params: Mapping[str, Any], directory: str):
        del directory
        if "://" not in uri or uri.startswith("file:"):  # a folder, which MLflow has to be allowed
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        for setting, value in {"REQUEST_MAX_RETRIES": "1", "REQUEST_TIMEOUT": "15"}.items():
            os.environ.setdefault(f"MLFLOW_HTTP_{setting}", value)  # its own let a training wait for minutes
        self._entities = mlflow.entities
        self._client = mlflow.MlflowClient(tracking_uri=uri)
        if run is not None:
            self._client.update_run(run, status="RUNNING")
            self.run = run
            return
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(experiment)
        number = self._client.create_experiment(experiment) if found is None else found.experiment_id
        self.run = self._client.create_run(number, run_name=name).info.run_id
        listed = [self._entities.Param(key, str(value)[: self._LONGEST]) for key, value in params.items()]
        for first in range(0, len(listed), self._PARAMS):
            self._client.log_batch(self.run, params=listed[first : first + self._PARAMS])

    def send(self, rows: list[tuple[int, float, Mapping[str, float]]]) -> None:
        metrics = [
            self._entities.Metric(name, value, int(1000 * seconds), step)
            for step, seconds, values in rows
            for name, value in values.items()
        ]
        for first in range(0, len(metrics), self._METRICS):
            self._client.log_batch(self.run, metrics=metrics[first : first + self._METRICS])

    def attach(self, path: str) -> None:
        self._client.log_artifact(self.run, path)

    def end(self, status: str) -> None:
        words = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}
        self._client.set_terminated(self.run, words[status])


class _Wandb:
    """A run of Weights & Biases. Steps are a metric of their own: its own count refuses to go back, as a restart may."""

    def __init__(self, wandb: Any, project: str, run: str | None, name: str, params: Mapping[str, Any], directory: str):
        self._wandb, self.run = wandb, run or uuid.uuid4().hex[:12]
        self._run = wandb.init(
            project=project or os.environ.get("WANDB_PROJECT", PROJECT),
            id=self.run,
            name=name,
            resume="allow",
            config=dict(params) or None,
            dir=None if "://" in directory else directory,
            settings=wandb.Settings(console="off", silent=True),
            reinit="create_new",
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def send(self, rows: list[tuple[int, float, Mapping[str, float]]]) -> None:
        for step, seconds, values in rows:
            self._run.log({**values, "step": step, "_timestamp": seconds})

    def attach(self, path: str) -> None:
        with open(path, encoding="utf-8") as file:
            self._run.log({"report": self._wandb.Html(file.read(), inject=False)})
        self._run.save(path, base_path=os.path.dirname(path), policy="now")

    def end(self, status: str) -> None:
        self._run.finish(exit_code={"finished": 0, "stopped": 143, "failed": 1}[status])


def _module(kind: str, log_to: str) -> Any:
    return from_extra(kind, _MODULES[kind], argument=f"`log_to` {log_to}")


def _line(error: Exception) -> str:
    """The first line of an error, without a full stop."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0][:300] if lines else type(error).__name__).rstrip(".")
