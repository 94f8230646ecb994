"""The page: what came out and against what, curves, views, neighbours, the map, duplicates, outliers, suspects."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfcontrastive import report
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.runs.model_dir import ModelDir


def write_page(path: str, found: Any, request: Any, **parts: Any) -> str:
    """Writes report.html."""
    directory = ModelDir(found.output_dir)
    columns = [report.Column(name) for name in ("encoder", "kNN top-1", "linear top-1", "own view found", "training")]
    sections = [
        report.Table("Results", columns, found.rows()),
        curves(directory),
        report.ViewPairs("Augmented views", [np.asarray(view) for view in found.trained.views]),
    ]
    return report.write_report(path, title=request.title, sections=sections)


def curves(directory: ModelDir) -> report.Curves:
    """Loss, and accuracies while training."""
    history = read_history(directory.history)
    lines = [report.Line("loss", [one["step"] for one in history], [one["loss"] for one in history])]
    return report.Curves("Curves", [report.Chart("Contrastive loss", lines)])
