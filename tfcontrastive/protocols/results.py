"""Results: what was measured of one encoder, in a directory: metrics.json, TensorBoard logs and report.html."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
from typing import Any

import tensorflow as tf

import tfcontrastive
from tfcontrastive import distribute, report, storage
from tfcontrastive.config import BaseConfig, InputError, flat_fields
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.model_dir import write_json
from tfcontrastive.system.directory_lock import DirectoryLock


@dataclasses.dataclass(frozen=True)
class Result:
    """One protocol's values of an encoder.

    Attributes:
        protocol: its name.
        dataset: the specification of the images; None where the protocol brings its own.
        settings: what the values depend on: the evaluator's fields by name.
        metrics: the values by name, of several seeds their mean.
        deviations: the values' standard deviations over the seeds; {} of a single run.
        runs: each seed's values; {} of a single run.
        seconds: that it took.
        baselines: what the same protocol gives of `raw pixels` and of the `untrained network`: the values by name.
        images: how many there are for training and for the test, how many classes, and which part of the test images the
            largest of them has: `train`, `test`, `classes`, `largest_class`; {} where that is not known.
        predictions: the file beside metrics.json with what was said of each test image; None where there is none.
        by_class: of several seeds, recall and precision of each class, see `evaluate.by_class`; [] of a single run.
    """

    protocol: str
    dataset: str | None
    settings: dict[str, Any]
    metrics: dict[str, float]
    deviations: dict[str, float] = dataclasses.field(default_factory=dict)
    runs: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    baselines: dict[str, dict[str, float]] = dataclasses.field(default_factory=dict)
    images: dict[str, float] = dataclasses.field(default_factory=dict)
    predictions: str | None = None
    by_class: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    def measures_the_same(self, other: Result) -> bool:
        """Whether one of the two can take the other's place."""
        return (self.protocol, self.dataset, self.settings) == (other.protocol, other.dataset, other.settings)


def settings_of(evaluator: BaseConfig) -> dict[str, Any]:
    """What the values of an evaluator depend on: its `settings`, where it tells them, else its plain fields.

    As metrics.json gives them back, so that they can be compared: JSON has no tuples.
    """
    settings = getattr(evaluator, "settings", None)
    if settings is None:
        settings = {
            name: value for name, (field, value) in flat_fields(evaluator).items() if not field.metadata["may_change"]
        }
    return json.loads(json.dumps(settings))


class Results:
    """A directory of what was measured of one encoder.

    Protocols add to what is there. The same protocol measured again with the same settings replaces its old values;
    with other settings, or on other images, it stands beside them.

    Args:
        path: the directory; made when something is added.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = os.fspath(path)
        self.metrics = os.path.join(self.path, "metrics.json")
        self.report = os.path.join(self.path, "report.html")
        self.logs = os.path.join(self.path, "logs")

    def read(self) -> list[Result]:
        """What was measured so far, in that order.

        Raises:
            InputError: metrics.json is not one of these.
        """
        return [Result(**stored) for stored in self._stored()["results"]]

    def claim(self, trained: Trained, *, overwrite: bool = False) -> None:
        """Makes the directory this encoder's, or finds that it already is. Nothing is written yet.

        Args:
            trained: the encoder.
            overwrite: another encoder's results are moved aside, to `<path>.1`, `<path>.2`, ...

        Raises:
            InputError: the directory holds the results of another encoder, or other files.
        """
        if not storage.names_in(self.path):
            return
        what = "which holds other files"
        try:
            stored = self._stored() if storage.exists(self.metrics) else None
        except InputError:
            if not overwrite:
                raise
            stored = None
        if stored is not None:
            if stored["weights"] == trained.fingerprint():
                return
            what = f"which holds the results of another encoder, {stored['encoder']}"
        if not overwrite:
            raise InputError(
                f"`output_dir` must be new, empty or this encoder's own. Received: {self.path!r}, {what}. "
                "Choose another directory, or --overwrite to move this one aside."
            )
        if distribute.is_chief():
            storage.move_aside("output_dir", self.path)

    def add(
        self,
        trained: Trained,
        result: Result,
        details: report.Details | None = None,
        provenance: report.Provenance | None = None,
    ) -> None:
        """Writes a result beside the others: numbers, TensorBoard scalars and the report's page.

        Args:
            trained: the encoder.
            result: what was measured of it.
            details: what was said of each test image, kept in a file of its own.
            provenance: of the page.
        """
        storage.make_writable("output_dir", self.path)
        with DirectoryLock("output_dir", self.path, wait=True):  # of two that end at once, neither loses the other's
            old = self.read() if storage.exists(self.metrics) else []
            results = [other for other in old if not other.measures_the_same(result)]
            if details is not None:
                taken = {other.predictions for other in results}
                names = (
                    f"predictions_{result.protocol}{f'_{number}' if number else ''}.npz" for number in itertools.count()
                )
                result = dataclasses.replace(result, predictions=next(name for name in names if name not in taken))
                storage.write(os.path.join(self.path, result.predictions), details.to_bytes())
            results.append(result)
            self._write(trained, results, provenance)
        writer = tf.summary.create_file_writer(os.path.join(self.logs, result.protocol))
        with writer.as_default(step=trained.step):
            for name, value in result.metrics.items():
                tf.summary.scalar(f"eval/{name}", value)
        writer.close()

    def details(self, result: Result) -> report.Details | None:
        """What was said of each test image; None where that was not kept, or its file is gone."""
        path = os.path.join(self.path, result.predictions or "")
        if result.predictions is None or not storage.exists(path):
            return None
        return report.Details.from_bytes(storage.read_bytes(path))

    def _write(self, trained: Trained, results: list[Result], provenance: report.Provenance | None) -> None:
        write_json(
            self.metrics,
            {
                "tfcontrastive": tfcontrastive.__version__,
                "encoder": trained.name,
                "weights": trained.fingerprint(),
                "results": [dataclasses.asdict(each) for each in results],
            },
        )
        report.write_report(
            self.report,
            title="What the encoder is worth",
            subtitle=trained.name,
            sections=report.evaluation_sections(
                [dataclasses.asdict(each) for each in results], [self.details(each) for each in results]
            ),
            provenance=provenance,
        )

    def _stored(self) -> dict[str, Any]:
        return read_metrics(self.metrics)


def read_metrics(path: str) -> dict[str, Any]:
    """A metrics.json that `tfcontrastive evaluate` wrote.

    Raises:
        InputError: it cannot be read, or something else wrote it.
    """
    try:
        stored = json.loads(storage.read_text(path))
        if not {"encoder", "weights", "results"} <= set(stored):
            raise ValueError("it lacks encoder, weights or results")
    except (tf.errors.OpError, ValueError, TypeError) as error:
        raise InputError(
            f"metrics.json must be one of `tfcontrastive evaluate`. Received: {path!r}: {error}."
        ) from error
    return stored
