"""fit.json: what was asked for and what was decided, so that a command that was stopped goes on with both."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

import tensorflow as tf

import tfcontrastive
from tfcontrastive import storage
from tfcontrastive.config import InputError, RunSettings, TrainConfig, flat_fields, from_nested, nested
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.fitting.choices import Choice
from tfcontrastive.fitting.clock import FILE as CLOCK
from tfcontrastive.fitting.request import Request
from tfcontrastive.runs.load_run import read_config
from tfcontrastive.runs.model_dir import write_json

FILE = "fit.json"
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Decided:
    """What a command decided: the config of its training, and why."""

    config: Any  # of the command's own kind of run
    choices: list[Choice]


class Memo:
    """The file in an output directory.

    Args:
        output_dir: the directory.
        file: its name.
    """

    def __init__(self, output_dir: str, file: str = FILE):
        self.path = os.path.join(output_dir, file)
        self._output_dir = output_dir

    def claim(self, request: Request, *, overwrite: bool = False) -> Request:
        """Makes the directory this command's, or finds that it already is.

        The minutes are those that the command began with, unless nothing was decided yet: then the new ones, from now on.

        Args:
            request: what is asked for.
            overwrite: what lies there is moved aside first.

        Raises:
            InputError: another command's directory, one that holds other files, or one that cannot be written to.
        """
        if overwrite and storage.names_in(self._output_dir):
            storage.move_aside("output_dir", self._output_dir)
        storage.make_writable("output_dir", self._output_dir)
        stored = self.check(request)
        if stored is None:
            self._write(request, None)
            return request
        if (
            stored["config"] is None and request.minutes != stored["asked"]["minutes"]
        ):  # which were too few, and nothing is decided
            self._write(request, None)
            storage.write(os.path.join(self._output_dir, CLOCK), json.dumps({"seconds": 0.0}) + "\n")
            return request
        return dataclasses.replace(request, minutes=stored["asked"]["minutes"])

    def check(self, request: Request) -> dict[str, Any] | None:
        """What lies there of this command, None where nothing does; refuses what `claim` refuses, and writes nothing."""
        stored = self._read()
        if stored is None:
            if storage.names_in(self._output_dir):
                raise InputError(
                    f"`output_dir` must be new, empty or of the same command. Received: {self._output_dir!r}, which holds "
                    "other files. Choose another directory, or --overwrite to move this one aside."
                )
            return None
        before, now = stored["asked"], _asked(request)
        for name in sorted(before.keys() | now.keys()):
            if name != "minutes" and before.get(name) != now.get(name):
                raise InputError(
                    f"`output_dir` {self._output_dir!r} was made with {name}={before.get(name)!r}. Received: "
                    f"{name}={now.get(name)!r}. Use another directory, or --overwrite to move this one aside."
                )
        return stored

    def decided(self) -> Decided | None:
        """What was decided before; None where nothing was yet."""
        stored = self._read()
        if stored is None or stored["config"] is None:
            return None
        return Decided(_config(stored["config"]), [Choice(**choice) for choice in stored["choices"]])

    def keep(self, request: Request, decided: Decided) -> None:
        """Writes down what was decided."""
        self._write(request, decided)

    def _write(self, request: Request, decided: Decided | None) -> None:
        config = None if decided is None else {"kind": decided.config.kind, **nested(decided.config)}
        choices = [] if decided is None else [dataclasses.asdict(choice) for choice in decided.choices]
        facts = {"format": _FORMAT, "tfcontrastive": tfcontrastive.__version__, "asked": _asked(request)}
        write_json(self.path, {**facts, "config": config, "choices": choices})

    def _read(self) -> dict[str, Any] | None:
        if not storage.exists(self.path):
            return None
        try:
            stored = json.loads(storage.read_text(self.path))
            if stored["format"] != _FORMAT or not {"asked", "config", "choices"} <= stored.keys():
                raise ValueError(f"format {stored['format']}")
        except (tf.errors.OpError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{os.path.basename(self.path)} must be one that this version wrote. Received: {self.path!r}: {error!r}. "
                "Use another directory, or --overwrite to move this one aside."
            ) from error
        return stored


def _asked(request: Request) -> dict[str, Any]:
    """What was asked for, as JSON gives it back; what may change on resume is left out."""
    values = {
        name: value
        for name, (field, value) in flat_fields(request.config).items()
        if name in request.asked and not field.metadata.get("may_change")
    }
    values |= {"dataset": request.config.data.dataset, "labels": request.config.data.labels, "minutes": request.minutes}
    if isinstance(request.config, TrainConfig):
        values |= {"method": request.config.method, "comparison": request.comparison}
    return values


def _config(stored: dict[str, Any]) -> RunSettings:
    """The config of a run by its kind."""
    if stored["kind"] != AdaptConfig.kind:
        return read_config(stored)
    return from_nested(AdaptConfig(), {name: value for name, value in stored.items() if name != "kind"})
