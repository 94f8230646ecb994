"""The page of a distillation from features: what the student kept of its teacher, at what part of the cost."""

from __future__ import annotations

import os
from typing import Any

import keras
import numpy as np

from tfcontrastive import report
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.planning.cost import forward_flops

_CHARTS = {
    "Loss": (("loss", "loss"), ("target_entropy", "the teacher's own entropy, the least that it can be")),
    "Cosine to the teacher's features": (("feature_cosine", "training images"),),
    "kNN accuracy": (("knn_top1", "student"), ("teacher_knn_top1", "teacher")),
}


def write_page(result: Any, directory: Any, saved_model: str, command: str = "") -> str:
    """report.html beside the run.

    Args:
        result: of `distill_features`.
        directory: its `ModelDir`.
        saved_model: where it was exported to.
        command: the command line.
    """
    config, made = result.config, result.prepared
    where = {
        "SavedModel": os.path.relpath(saved_model, directory.path),
        "The teacher's features": made.cache.directory,
        "TensorBoard": "logs",
        "Numbers": "result.json",
    }
    sections: list[report.Section] = [
        headline(result),
        *comparison(result),
        report.Curves("Training", charts(read_history(directory.history))),
        report.Notes("What was learned from", [], facts(result)),
        report.Notes("Where things are", [], where),
    ]
    return report.write_report(
        os.path.join(directory.path, "report.html"),
        title="Distillation from features",
        subtitle=f"{result.source.name}, taught by {made.teacher.name}. Numbers are those after the last step.",
        sections=sections,
        provenance=report.Provenance(command, config.loop.seed, result.source.name),
    )


def headline(result: Any) -> report.Headline:
    """The student's numbers beside its teacher's."""
    metrics, figures, verdict = result.metrics, [], ""
    if "knn_top1" in metrics:
        interval = f"95% interval {metrics['knn_top1_low']:.1%} to {metrics['knn_top1_high']:.1%}"
        others = {"its teacher": metrics["teacher_knn_top1"], "chance": 1 / result.source.num_classes}
        figures = [
            report.Figure("kNN top-1", f"{metrics['knn_top1']:.1%}", interval),
            report.Figure("Teacher, kNN top-1", f"{metrics['teacher_knn_top1']:.1%}", "held-out images"),
            report.Figure("Kept of it", f"{metrics['knn_kept']:.1%}", "student / teacher"),
        ]
        verdict = f"{metrics['knn_top1']:.1%} of the held-out images have the class of their neighbours: "
        verdict += f"{report.against(metrics['knn_top1'], others)}."
    figures.append(
        report.Figure("Cosine", f"{metrics['feature_cosine']:.3f}", "to the teacher's features, held-out images")
    )
    rank = f"teacher {metrics['teacher_effective_rank']:.1f}"
    figures.append(report.Figure("Effective rank", f"{metrics['effective_rank']:.1f}", rank))
    return report.Headline(figures, verdict=verdict)


def comparison(result: Any) -> list[report.Section]:
    """kNN of both; nothing without labels."""
    metrics = result.metrics
    if "knn_top1" not in metrics:
        return []
    ends = metrics["knn_top1_low"], metrics["knn_top1_high"]
    bars = [
        report.Bar("student", metrics["knn_top1"], *ends, "own"),
        report.Bar("its teacher", metrics["teacher_knn_top1"], kind="reference"),
    ]
    axis = "kNN top-1 accuracy on held-out images"
    return [report.Comparison("Against chance", bars, axis=axis, chance=1 / result.source.num_classes)]


def charts(history: list[dict[str, Any]]) -> list[report.Chart]:
    """What was written over the steps."""
    made = []
    for title, wanted in _CHARTS.items():
        lines = []
        for key, label in wanted:
            known = [one for one in history if key in one]
            if known:
                lines.append(report.Line(label, [one["step"] for one in known], [one[key] for one in known]))
        if lines and not (title.startswith("kNN") and len(lines[0].x) < 2):  # at the end alone: it is above
            made.append(report.Chart(title, lines, format=".0%" if title.startswith("kNN") else "g"))
    return made


def facts(result: Any) -> dict[str, str]:
    """Both networks, and the views."""
    made, config = result.prepared, result.config
    size = config.data.image_size
    student = forward_flops(made.model.encoder, size)
    weights = sum(int(np.prod(variable.shape)) for variable in made.model.encoder.variables)
    found = {
        "Student": f"{config.encoder.encoder}: {weights:,} weights, {student / 1e6:,.1f} million operations an image of "
        f"{size} x {size} pixels",
        "Teacher": f"{made.cache.width} features of {made.teacher_size} x {made.teacher_size} pixels",
        "Views": f"{made.cache.views} crops and flips of each of {made.cache.images:,} images, the same for both",
        "Loss": config.feature_loss,
    }
    if "licence" in made.teacher.facts:
        found["Licence of the teacher's weights"] = made.teacher.facts["licence"]
    if isinstance(made.teacher.encoder, keras.Model):
        cost = forward_flops(made.teacher.encoder, made.teacher_size)
        found["Teacher"] += f", {cost / 1e6:,.1f} million operations: {cost / student:.1f} times the student's"
    return found
