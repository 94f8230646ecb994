"""The page of a fine-tuning or a distillation: how good it is, against what, where it is wrong, how it was trained."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from tfcontrastive import data, evaluate, report
from tfcontrastive.callbacks.summaries import read_history

_TITLES = {"finetune": "Fine-tuning", "distill": "Distillation"}
_FIGURES = (
    ("Top-1 accuracy", "eval_top1"),
    ("Top-5 accuracy", "eval_top5"),
    ("Mean accuracy over the classes", "eval_mean_per_class"),
    ("Teacher, top-1 accuracy", "teacher_top1"),
)
_LINES = {
    "loss": "loss",
    "distillation_loss": "of the teacher's answers",
    "accuracy": "training images",
    "teacher_agreement": "agreement with the teacher",
    "eval_top1": "held-out images",
}


def write_page(result: Any, directory: Any, saved_model: str, command: str = "") -> str:
    """report.html beside the run.

    Args:
        result: of `finetune` or `distill`.
        directory: its `ModelDir`.
        saved_model: where it was exported to.
        command: the command line.
    """
    config, classes = result.config, result.source.num_classes
    predictions = result.predictions()
    sections: list[report.Section] = [headline(result.metrics, predictions, classes)]
    sections += comparison(result.metrics, predictions, classes)
    sections.append(report.Curves("Training", charts(read_history(directory.history), classes)))
    if predictions is not None:
        sections += details(result, predictions).sections()
    where = {
        "SavedModel": os.path.relpath(saved_model, directory.path),
        "TensorBoard": "logs",
        "Numbers": "result.json",
    }
    sections.append(report.Notes("Where things are", [], where))
    started = config.checkpoint or config.saved_model or "first weights"
    return report.write_report(
        os.path.join(directory.path, "report.html"),
        title=_TITLES[config.train_mode],
        subtitle=f"{result.source.name}, from {started}. Accuracies are those after the last step.",
        sections=sections,
        provenance=report.Provenance(command, config.loop.seed, result.source.name),
    )


def headline(
    metrics: dict[str, float], predictions: evaluate.Predictions | None, classes: int | None
) -> report.Headline:
    """The accuracies, and what they are against chance."""
    figures = [
        report.Figure(label, f"{metrics[key]:.1%}", _remark(key, metrics)) for label, key in _FIGURES if key in metrics
    ]
    verdict = ""
    if predictions is not None:
        others = {"the teacher": metrics["teacher_top1"]} if "teacher_top1" in metrics else {}
        others |= {"chance": 1 / classes}
        if _is_uneven(predictions, classes):
            others = {"naming the largest class": _largest(predictions), **others}
        verdict = (
            f"It names the class of {metrics['eval_top1']:.1%} of {len(predictions.labels):,} held-out images right: "
            f"{report.against(metrics['eval_top1'], others)}."
        )
    return report.Headline(figures, verdict=verdict)


def comparison(
    metrics: dict[str, float], predictions: evaluate.Predictions | None, classes: int | None
) -> list[report.Section]:
    """Top-1 beside what is at hand to compare it with; nothing without labels."""
    if predictions is None:
        return []
    bars = [report.Bar("naming the largest class", _largest(predictions))] if _is_uneven(predictions, classes) else []
    ends = metrics.get("eval_top1_low"), metrics.get("eval_top1_high")
    bars.append(report.Bar("this classifier", metrics["eval_top1"], *ends, "own"))
    if "teacher_top1" in metrics:
        bars.append(report.Bar("its teacher", metrics["teacher_top1"], kind="reference"))
    axis = f"Top-1 accuracy on {len(predictions.labels):,} held-out images"
    return [report.Comparison("Against chance", bars, axis=axis, chance=1 / classes)]


def charts(history: list[dict[str, Any]], classes: int | None) -> list[report.Chart]:
    """Loss and accuracy over the steps, those that were written."""

    def lines(*keys: str) -> list[report.Line]:
        found = []
        for key in keys:
            known = [one for one in history if key in one]
            if known:
                found.append(report.Line(_LINES[key], [one["step"] for one in known], [one[key] for one in known]))
        return found

    losses, accuracies = lines("loss", "distillation_loss"), lines("accuracy", "teacher_agreement", "eval_top1")
    made = [report.Chart("Loss", losses, y_label="cross entropy, nats")] if losses else []
    if accuracies:
        levels = [("chance", 1 / classes)] if classes else []
        label = "part of the images"
        made.append(report.Chart("Accuracy", accuracies, format=".0%", y_label=label, levels=levels))
    return made


def details(result: Any, predictions: evaluate.Predictions) -> report.Details:
    """What was said of each held-out image, with pictures of the surest mistakes."""
    made = result.prepared
    rows = report.surest_mistakes(predictions.labels, predictions.classes, predictions.confidences)
    held = made.source.arrays(made.config.data.train_split)
    counts = None
    if held is not None and held[1] is not None:
        counts = np.bincount(held[1][held[1] >= 0], minlength=made.num_classes)
    rule: data.Preprocessing = result.preprocessing
    return report.Details(
        predictions.labels,
        predictions.classes,
        predictions.confidences,
        class_names=made.source.class_names,
        train_counts=counts,
        rows=rows if len(rows) else None,
        pictures=evaluate.images_of(made.source, made.split, rows, preprocessing=rule) if len(rows) else None,
    )


def _largest(predictions: evaluate.Predictions) -> float:
    return float(np.bincount(predictions.labels).max() / len(predictions.labels))


def _is_uneven(predictions: evaluate.Predictions, classes: int) -> bool:
    """Whether naming the largest class is better than chance."""
    return _largest(predictions) > 1.1 / classes


def _remark(key: str, metrics: dict[str, float]) -> str:
    """How sure the number is, where that is known."""
    if key != "eval_top1":
        return "held-out images"
    return f"95% interval {metrics['eval_top1_low']:.1%} to {metrics['eval_top1_high']:.1%}"
