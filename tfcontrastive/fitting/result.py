"""FitResult: what `fit` gives back, to look at, to search with, to go on with."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras
import numpy as np

from tfcontrastive import evaluate, export, report
from tfcontrastive.config import InputError
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.downstream.finetune import Finetuned, finetune
from tfcontrastive.fitting import leaving
from tfcontrastive.fitting.choices import Choice
from tfcontrastive.fitting.comparison import as_trained
from tfcontrastive.fitting.measure import Measured
from tfcontrastive.fitting.survey import Survey
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.pretrain import TrainResult


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What `fit` made of images.

    Attributes:
        output_dir: where everything is.
        metrics: what metrics.json holds: `raw_pixels`, `random`, `trained`, ..., each with `knn_top1` and `linear_top1`
            where there are labels; `seconds`, `chance`, `verdict`.
        verdict: the outcome in sentences.
        survey: what the images are.
        choices: what was decided, and why.
        trained: the pre-training: its config, model and source.
        measured: every encoder, with its features.
        ids: of the images, those trained on first.
        splits: of each of them.
        next_commands: what to do with it, as commands.
        shown: sections of the page that a notebook shows: results and neighbours.
        chosen: of a training from trained weights: `trained`, or `given` where it was not surely better than these.
        reason: why, in a sentence; empty of a training from first weights.
        kept: the encoder that was given, where it was chosen.
    """

    output_dir: str
    metrics: dict[str, Any]
    verdict: list[str]
    survey: Survey
    choices: list[Choice]
    trained: TrainResult
    measured: list[Measured]
    ids: tuple[str, ...]
    splits: tuple[str, ...]
    next_commands: list[str]
    shown: tuple[report.Section, ...] = ()
    chosen: str = "trained"
    reason: str = ""
    kept: keras.Model | None = None

    @property
    def encoder(self) -> keras.Model:
        """The encoder that is left, images `[B, H, W, C]` in [0, 1] -> features `[B, F]`."""
        return self.trained.model.encoder if self.kept is None else self.kept

    @property
    def saved_model(self) -> str:
        """The SavedModel."""
        return export.latest_version(os.path.join(self.output_dir, "saved_model"))

    def embeddings(self) -> Any:
        """Every image with its vector: columns id, label, split and embedding (unit length).

        Returns:
            a `pandas.DataFrame` where pandas is installed, else a dictionary of arrays.
        """
        features = self.own.features
        names, labels = self.survey.class_names, features.all_labels()
        table = {
            "id": np.array(self.ids, object),
            "label": np.array([names[label] if label >= 0 and names else None for label in labels], object),
            "split": np.array(self.splits, object),
            "embedding": leaving.unit(features.everywhere()),
        }
        try:
            import pandas
        except ModuleNotFoundError:
            return table
        return pandas.DataFrame({**table, "embedding": list(table["embedding"])})

    def search(self, image: str | os.PathLike, k: int = 5) -> list[tuple[str, float]]:
        """The images that are nearest to one.

        Args:
            image: an image file.
            k: how many.

        Returns:
            (id, cosine similarity) of each, from the nearest on.

        Raises:
            InputError: the file cannot be read, or k is out of range.
        """
        if not 1 <= k <= len(self.ids):
            raise InputError(f"`k` must be between 1 and the {len(self.ids)} images. Received: k={k}.")
        query = export.embed_files(self.saved_model, [os.fspath(image)])
        similarity, rows = evaluate.nearest_neighbours(query, self.own.features.everywhere(), k=k)
        return [(self.ids[row], float(value)) for row, value in zip(rows[0], similarity[0], strict=True)]

    def finetune(self, labels: float = 1.0, *, output_dir: str | None = None, train_epochs: int = 30) -> Finetuned:
        """A classifier of the trained encoder and a part of the labels.

        Args:
            labels: the part of the images whose labels are used, in (0, 1].
            output_dir: of the run; default: `finetuned_PERCENT` in that of `fit`.
            train_epochs: over that part.

        Raises:
            InputError: the images have no labels, or the part is out of range.
        """
        config = self.trained.config
        where = output_dir or os.path.join(self.output_dir, f"finetuned_{100 * labels:g}")
        batch = min(config.loop.train_batch_size, max(2, int(labels * len(self.survey.parts["train"]))))
        return finetune(
            FinetuneConfig(
                encoder=None,
                label_fraction=labels,
                data=config.data,
                optimizer=dataclasses.replace(
                    config.optimizer, optimizer="momentum", learning_rate=0.03 * 256 / batch, warmup_epochs=0.0
                ),
                loop=dataclasses.replace(
                    FinetuneConfig().loop,
                    model_dir=where,
                    train_epochs=train_epochs,
                    train_batch_size=batch,
                    seed=config.loop.seed,
                    mixed_precision=config.loop.mixed_precision,
                ),
            ),
            start=self.as_trained(),
            source=self.trained.source,
        )

    def as_trained(self) -> Trained:
        """The encoder, as other commands take it."""
        return as_trained(self.trained, self.kept)

    @property
    def own(self) -> Measured:
        """The encoder that is left, measured."""
        return next(encoder for encoder in self.measured if encoder.name == self.chosen)

    @property
    def measured_on(self) -> str:
        """On which images, in words."""
        count = len(self.own.features.test)
        if not count:
            return f"{len(self.own.features.train):,} images, all of them trained on"
        return f"{count:,} held-out images"

    def files(self) -> dict[str, str]:
        """What was left, by a word."""
        found = {"report": leaving.PAGE, "numbers": leaving.METRICS, "vectors": leaving.EMBEDDINGS}
        if self.survey.class_names:
            found["suspects"] = leaving.SUSPECTS
        paths = {what: os.path.join(self.output_dir, name) for what, name in found.items()}
        return {**paths, "SavedModel": self.saved_model, "TensorBoard": os.path.join(self.output_dir, "logs")}

    def rows(self) -> list[tuple[str | None, ...]]:
        """The table of results: what, kNN, linear (with 95% intervals), view found, seconds of training."""
        found: list[tuple[str | None, ...]] = []
        chance = self.metrics.get("chance")
        if chance:
            found.append(("chance", f"{chance['knn_top1']:.1%}", f"{chance['linear_top1']:.1%}", None, None))
        for encoder in self.measured:
            cells = [_accuracy(encoder.metrics, probe) for probe in ("knn", "linear")]
            own_view = encoder.metrics.get("retrieval_top1")
            seconds = f"{encoder.seconds:.0f} s" if encoder.seconds else None
            found.append((encoder.title, *cells, None if own_view is None else f"{own_view:.1%}", seconds))
        return found

    def __repr__(self) -> str:
        return f"FitResult({self.output_dir!r}: {self.verdict[0] if self.verdict else 'nothing was measured'})"

    def _repr_html_(self) -> str:
        return report.in_a_notebook(self.output_dir, [report.Headline([], verdict=" ".join(self.verdict)), *self.shown])


COLUMNS = ("encoder", "kNN top-1", "linear top-1", "view found", "training")
"""Of `FitResult.rows`."""


def _accuracy(metrics: dict[str, float], probe: str) -> str | None:
    if f"{probe}_top1" not in metrics:
        return None
    if f"{probe}_top1_low" not in metrics:
        return f"{metrics[f'{probe}_top1']:.1%}"
    low, high = (metrics[f"{probe}_top1_{end}"] for end in ("low", "high"))
    return f"{metrics[f'{probe}_top1']:.1%} ({low:.0%}–{high:.0%})"
