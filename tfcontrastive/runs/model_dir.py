"""ModelDir: what lies in a run's directory, and who may write there."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from typing import Any

import tensorflow as tf

import tfcontrastive
from tfcontrastive import storage
from tfcontrastive.config import InputError, RunSettings, differences, nested
from tfcontrastive.data import ImageSpec

FORMAT = 2
"""Of config.json: `{"format", "tfcontrastive": version, "kind": pretrain, finetune, distill, distill_features or adapt,
"images": {"channels", "num_classes"}}` and the nested config."""

_OF_IMAGES = {"channels", "num_classes"}

_OF_A_COMMAND = {
    "fit.json", "adapt.json", "clock.json", "held_out.json", "choosing.json", "bad_files.txt", "checked_files.json",
}  # fmt: skip
"""Files of a command that trains in its own directory after other stages; they are there before the run is."""


@dataclasses.dataclass(frozen=True)
class ModelDir:
    """The paths of one run, on a disk or in a bucket (`gs://bucket/run`).

    config.json, checkpoints/ (checkpoints.1/, ...: newer ones than a `--restore_step`), logs/ (TensorBoard), metrics.jsonl
    (a line an epoch), bad_files.txt, saved_model/<version>/, result.json (the step and what was measured then), and of a
    classifier or a student network.json, its architecture; features/ of a distillation from features; origin.json and
    logger.json, where a run starts from published weights or has a logger of the user's.
    """

    path: str

    @property
    def config(self) -> str:
        return os.path.join(self.path, "config.json")

    @property
    def is_run(self) -> bool:
        """Whether a run lies there: other projects have a config.json too, without a kind of run or a format of ours."""
        if not storage.exists(self.config):
            return False
        try:
            stored = json.loads(storage.read_text(self.config))
        except (tf.errors.OpError, ValueError, RecursionError):
            return True  # a damaged one, which whoever reads it will say
        return not isinstance(stored, dict) or not {"model_type", "architecture", "registered_name"} & set(stored)

    @property
    def checkpoints(self) -> str:
        return os.path.join(self.path, "checkpoints")

    @property
    def logs(self) -> str:
        return os.path.join(self.path, "logs")

    @property
    def history(self) -> str:
        return os.path.join(self.path, "metrics.jsonl")

    @property
    def result(self) -> str:
        return os.path.join(self.path, "result.json")

    @property
    def chosen(self) -> str | None:
        """Which encoder `fit` from trained weights, or `adapt`, left, as its metrics.json says; None of other runs."""
        name = "metrics.json"
        if name not in storage.names_in(self.path):  # in memory a file `metrics.jsonl` makes this one seem to exist
            return None
        try:
            told = json.loads(storage.read_text(os.path.join(self.path, name)))
        except ValueError:
            return None
        return told.get("chosen") if isinstance(told, dict) else None

    @property
    def network(self) -> str:
        return os.path.join(self.path, "network.json")

    @property
    def origin(self) -> str:
        return os.path.join(self.path, "origin.json")

    def read_origin(self) -> dict[str, Any]:
        """Family, licence, ... of the published weights that the run started from; {} where there were none."""
        return json.loads(storage.read_text(self.origin)) if storage.exists(self.origin) else {}

    @property
    def bad_files(self) -> str:
        return os.path.join(self.path, "bad_files.txt")

    @property
    def saved_model(self) -> str:
        return os.path.join(self.path, "saved_model")

    def claim(
        self, config: RunSettings, images: ImageSpec, *, overwrite: bool = False, allow_config_change: bool = False
    ) -> None:
        """Makes the directory this run's, or finds that it already is.

        Args:
            config: the run's.
            images: what the run knows of its images.
            overwrite: what lies there from another run is moved aside, to `<path>.1`, `<path>.2`, ...; nothing is lost.
            allow_config_change: goes on with the new config from the old run's checkpoint.

        Raises:
            InputError: another run's directory, one that holds other files, or one that cannot be written to.
        """
        if overwrite and storage.names_in(self.path):
            storage.move_aside("model_dir", self.path)
        storage.make_writable("model_dir", self.path)
        self.check(config, allow_config_change=allow_config_change)
        if not storage.exists(self.config):
            self.record(config, images)

    def check(self, config: RunSettings, *, overwrite: bool = False, allow_config_change: bool = False) -> None:
        """Refuses what `claim` refuses, as far as that can be told without writing."""
        if overwrite:
            return
        if storage.exists(self.config):
            self._compare(config, allow_config_change)
        elif not all(  # a kill may have left something half written
            name in _OF_A_COMMAND or name.endswith(".tmp") for name in storage.names_in(self.path)
        ):
            raise InputError(
                f"`model_dir` must be new, empty or a run's own. Received: {self.path!r}, which holds other files. "
                "Choose another directory, or --overwrite to move this one aside."
            )

    def sweep(self) -> None:
        """Removes what killed processes of this machine left half written: files aside, and exports."""
        own = (self.config, self.history, self.result, self.network, self.origin, self.bad_files)
        left = [path + ".tmp" for path in (*own, os.path.join(self.path, ".probe"))]
        for name in storage.names_in(self.saved_model):
            match = re.fullmatch(r"\.\d+\.(\d+)\.tmp", name)  # .VERSION.PROCESS.tmp, see export.save_model
            if match and not storage.is_running(int(match[1])):
                left.append(os.path.join(self.saved_model, name))
        for path in left:
            if storage.exists(path):
                storage.remove_left(path)

    def record(self, config: RunSettings, images: ImageSpec) -> None:
        """Writes the config. Of a directory that is a run's own already: once its checkpoint turned out to fit."""
        facts = {"format": FORMAT, "tfcontrastive": tfcontrastive.__version__, "kind": config.kind}
        facts["images"] = {name: getattr(images, name) for name in sorted(_OF_IMAGES)}
        write_json(self.config, {**facts, **nested(config)})

    def read_config(self) -> dict[str, Any]:
        """The stored run's `format`, `kind` and settings, these nested as the configs are."""
        try:
            stored = json.loads(storage.read_text(self.config))
        except (tf.errors.OpError, ValueError, RecursionError) as error:
            raise InputError(f"`model_dir` must hold a run's config.json. Received: {self.path!r}: {error}.") from error
        if not isinstance(stored, dict):
            raise InputError(
                f"`model_dir` must hold a run's config.json. Received: {self.path!r}, without settings in it."
            )
        if stored.get("format") != FORMAT:
            raise InputError(
                f"config.json must be of format {FORMAT}. Received: {self.config!r}, of format {stored.get('format')}, "
                "which another version of tfcontrastive wrote: take that version, or another directory."
            )
        images = stored.get("images")
        if not isinstance(stored.get("kind"), str) or not isinstance(images, dict) or set(images) != _OF_IMAGES:
            raise InputError(
                f"config.json must tell the kind of run, and channels and classes of its images. Received: {self.config!r}, "
                "which is damaged: restore it, or take another directory."
            )
        return stored

    def stored(self) -> dict[str, Any] | None:
        """The settings of the run that lies there, see `read_config`; None where there is none."""
        return self.read_config() if storage.exists(self.config) else None

    def _compare(self, config: RunSettings, allow_config_change: bool) -> None:
        stored = self.read_config()
        changed = differences(stored, config)
        if stored["kind"] != config.kind:
            raise InputError(
                f"`model_dir` {self.path!r} must be new, or a run of {config.kind}. Received: one of {stored['kind']}. "
                "Use another directory, or --overwrite to move that run aside."
            )
        if changed and not allow_config_change:
            shown = "; ".join(f"{name}: {old!r} there, {new!r} now" for name, (old, new) in changed.items())
            raise InputError(
                f"`model_dir` {self.path!r} was written with another configuration: {shown}. Use another directory, "
                "--overwrite to move that run aside, or --allow_config_change to go on from its checkpoint."
            )


def write_json(path: str, values: dict[str, Any]) -> None:
    """Writes JSON, whole or not at all."""
    storage.write(path, json.dumps(values, indent=2) + "\n")
