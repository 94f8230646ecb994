"""What is left: vectors, numbers, a SavedModel that was tried out, and the commands that come next."""

from __future__ import annotations

import io
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcontrastive import export, storage
from tfcontrastive.config import TrainConfig
from tfcontrastive.fitting.measure import Features
from tfcontrastive.fitting.request import Request
from tfcontrastive.runs.model_dir import write_json
from tfcontrastive.system.names import escaped

EMBEDDINGS, SUSPECTS, METRICS, PAGE = "embeddings.parquet", "labels.csv", "metrics.json", "report.html"


def write_embeddings(
    path: str, features: Features, ids: Sequence[str], class_names: Sequence[str] | None, splits: Sequence[str]
) -> None:
    """A table of id, label (a name, null without one), split and embedding (unit-length float32).

    Args:
        path: of the Parquet file.
        features: of the trained encoder.
        ids: of its images, train first.
        class_names: names of the classes.
        splits: the split of each image.
    """
    import pyarrow
    from pyarrow import parquet

    vectors = unit(features.everywhere())
    labels = [class_names[label] if label >= 0 and class_names else None for label in features.all_labels()]
    flat = pyarrow.array(vectors.reshape(-1), pyarrow.float32())
    table = pyarrow.table(
        {
            "id": pyarrow.array([escaped(name) for name in ids], pyarrow.string()),
            "label": pyarrow.array([None if name is None else escaped(name) for name in labels], pyarrow.string()),
            "split": pyarrow.array(list(splits), pyarrow.string()),
            "embedding": pyarrow.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
        }
    )
    content = io.BytesIO()
    parquet.write_table(table, content)
    storage.write(path, content.getvalue())


def unit(features: np.ndarray) -> np.ndarray:
    """Features at length one, float32."""
    return (features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def check(saved_model: str) -> list[str]:
    """What of a SavedModel does not work, as `tfcontrastive serve-check` finds; [] where all does."""
    return [f"{check.name}: {check.detail}" for check in export.check_export(saved_model) if check.passed is False]


def checked_before(metrics: str, saved_model: str) -> list[str] | None:
    """What `check` found in a SavedModel when this command ended the last time; None: it was not looked at.

    Args:
        metrics: path of metrics.json.
        saved_model: the directory of a version, which is never written to again.
    """
    if not storage.exists(metrics):
        return None
    stored = json.loads(storage.read_text(metrics))
    return stored.get("saved_model_problems") if stored.get("saved_model") == saved_model else None


def next_commands(request: Request, config: TrainConfig, ids: Sequence[str]) -> list[str]:
    """Search, embed more, serve: with the paths of this run.

    Args:
        request: what was asked for.
        config: of the run.
        ids: of its images.
    """
    out = config.loop.model_dir
    model, vectors = os.path.join(out, "saved_model"), os.path.join(out, "vectors")
    image = os.path.join(request.folder, ids[0]) if request.folder is not None else "IMAGE.png"
    dataset = f"--dataset={config.data.dataset}"
    serve = f"tfcontrastive serve-check {shlex.quote(model)}"
    return [
        f"tfcontrastive embed {shlex.quote(f'--saved_model={model}')} {shlex.quote(dataset)} "
        f"{shlex.quote(f'--output={vectors}')}",
        f"tfcontrastive search {shlex.quote(f'--index={vectors}')} --k=5 {shlex.quote(image)}",
        serve,
    ]


def write_numbers(
    path: str, request: Request, measured: Sequence[Any], chance: Mapping[str, float], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Writes metrics.json, and returns what it holds: each encoder by its name, chance, and facts of the run."""
    found: dict[str, Any] = {
        encoder.name: {**encoder.metrics, "train_seconds": encoder.seconds} for encoder in measured
    }
    if chance:
        found["chance"] = dict(chance)
    found |= {"dataset": request.config.data.dataset, **facts}
    write_json(path, found)
    return found
