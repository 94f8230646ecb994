"""What a classifier gets right and wrong: by class, by pair of classes, and as pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.report.gallery import Gallery
from tfcontrastive.report.page import Section
from tfcontrastive.report.pictures import Picture, class_name
from tfcontrastive.report.table import Column, Table
from tfcontrastive.report.template import render
from tfcontrastive.system.names import escaped

_MATRIX_AT_MOST = 24  # classes
_PAIRS = 20

Pictures = Callable[[int], np.ndarray | None] | Sequence[np.ndarray]
"""Where pictures come from: the images `[N, H, W, C]`, or a function of the row; None where there is none."""


@dataclasses.dataclass(frozen=True)
class PerClass:
    """A row a class: how many images, how many of them are found, how many of those named so are right.

    Args:
        title: the section's heading.
        labels: `[N]` true classes, integers; those below 0 do not count.
        predictions: `[N]` classes, integers.
        class_names: names of the classes; the numbers when not given.
        train_counts: `[C]` training images of each class.
        caption: a sentence under the heading.
    """

    title: str
    labels: np.ndarray
    predictions: np.ndarray
    class_names: Sequence[str] | None = None
    train_counts: np.ndarray | None = None
    caption: str = ""

    def html(self) -> str:
        counts = confusion_counts(self.labels, self.predictions)
        rows: list[tuple[Any, ...]] = []
        for label in np.flatnonzero(counts.sum(axis=1)):
            own, named, right = counts[label].sum(), counts[:, label].sum(), counts[label, label]
            wrong = np.where(np.arange(len(counts)) == label, 0, counts[label])
            other = f"{class_name(int(wrong.argmax()), self.class_names)} ({wrong.max()})" if wrong.any() else None
            trained = None if self.train_counts is None else int(self.train_counts[label])
            row = (class_name(int(label), self.class_names), trained, int(own), right / own)
            rows.append((*row, right / named if named else None, 2 * right / (own + named), other))
        rows.sort(key=lambda row: (row[3], row[0]))
        columns = [
            Column("class"),
            Column("training images", ",d"),
            Column("test images", ",d"),
            Column("recall", ".1%"),
            Column("precision", ".1%"),
            Column("F1", ".3f"),
            Column("most often taken for"),
        ]
        if self.train_counts is None:
            columns, rows = columns[:1] + columns[2:], [row[:1] + row[2:] for row in rows]
        caption = self.caption or (
            "The classes, those that are found least first. Recall: the part of a class that is named so; precision: the "
            "part of what is named so that is right."
        )
        return Table(self.title, columns, rows, caption=caption).html()


@dataclasses.dataclass(frozen=True)
class ConfusionMatrix:
    """True classes against the named ones; of more than 24 classes, the pairs that are confused most.

    Args:
        title: the section's heading.
        labels, predictions: as of `PerClass`.
        class_names: names of the classes; the numbers when not given.
        caption: a sentence under the heading.
    """

    title: str
    labels: np.ndarray
    predictions: np.ndarray
    class_names: Sequence[str] | None = None
    caption: str = ""

    def html(self) -> str:
        counts = confusion_counts(self.labels, self.predictions)
        seen = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
        if len(seen) > _MATRIX_AT_MOST:
            return self._pairs(counts)
        names = [class_name(int(label), self.class_names) for label in seen]
        total = np.maximum(counts.sum(axis=1, keepdims=True), 1)
        rows = [
            {
                "name": name,
                "cells": [
                    {
                        "share": f"{counts[label, other] / total[label, 0]:.3f}",
                        "shown": f"{100 * counts[label, other] / total[label, 0]:.0f}" if counts[label, other] else "",
                        "says": f"{counts[label, other]} of {counts[label].sum()} {name}: {names[column]}",
                        "right": label == other,
                    }
                    for column, other in enumerate(seen)
                ],
            }
            for name, label in zip(names, seen, strict=True)
        ]
        caption = self.caption or "A row a true class, a column a named one; percent of the row."
        return render("confusion.html", one=self, caption=caption, names=names, rows=rows)

    def _pairs(self, counts: np.ndarray) -> str:
        wrong = counts.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
        pairs = [np.unravel_index(place, counts.shape) for place in order if wrong.flat[place]]
        rows = [
            (
                class_name(int(label), self.class_names),
                class_name(int(other), self.class_names),
                int(wrong[label, other]),
                wrong[label, other] / counts[label].sum(),
            )
            for label, other in pairs
        ]
        columns = [Column("class"), Column("taken for"), Column("images", ",d"), Column("part of the class", ".1%")]
        return Table(self.title, columns, rows, caption=self.caption or "The pairs that are confused most.").html()


def confusion_counts(labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """How often each class is named each class: integers `[C, C]`, true classes down, named ones across.

    Args:
        labels: `[N]` integers; those below 0 do not count.
        predictions: `[N]` integers, at least 0.

    Raises:
        InputError: of different lengths, no labels at all, or a prediction below 0.
    """
    labels, predictions = np.asarray(labels, np.int64), np.asarray(predictions, np.int64)
    if labels.shape != predictions.shape or labels.ndim != 1:
        raise InputError(f"`labels` and `predictions` must be [N] both. Received: {labels.shape}, {predictions.shape}.")
    labels, predictions = labels[labels >= 0], predictions[labels >= 0]
    if not len(labels) or predictions.min() < 0:
        found = predictions.min() if len(labels) else "no labels"
        raise InputError(f"`labels` must hold a class and `predictions` be >= 0. Received: {found}.")
    size = int(max(labels.max(), predictions.max())) + 1
    counts = np.zeros([size, size], np.int64)
    np.add.at(counts, (labels, predictions), 1)
    return counts


def confident_mistakes(
    title: str,
    labels: np.ndarray,
    predictions: np.ndarray,
    confidences: np.ndarray,
    picture: Pictures,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    count: int = 12,
    caption: str = "",
) -> Gallery:
    """The images that were named wrongly and most surely: hard ones, and labels that are wrong themselves.

    Args:
        title: the section's heading.
        labels: `[N]` true classes, integers; those below 0 do not count.
        predictions: `[N]` classes, integers.
        confidences: `[N]` the predictions' probabilities, in [0, 1].
        picture: where the images come from.
        class_names: names of the classes; the numbers when not given.
        names: `[N]` files, shown under the classes.
        count: at most so many.
        caption: a sentence under the heading.
    """
    pictures = []
    for row in surest_mistakes(labels, predictions, confidences, count):
        named, own = (class_name(int(label), class_names) for label in (predictions[row], labels[row]))
        detail = f"labelled {own}" + (f"; {escaped(names[row])}" if names is not None else "")
        image = picture(int(row)) if callable(picture) else picture[row]
        pictures.append(
            Picture(image, f"{named}, {confidences[row]:.0%}", detail, "other", f"labelled {own}, named {named}")
        )
    caption = caption or "What was named, how surely, and what the label says: hard images, and labels that are wrong."
    return Gallery(title, pictures, caption, empty="There is no mistake.")


def surest_mistakes(
    labels: np.ndarray, predictions: np.ndarray, confidences: np.ndarray, count: int = 12
) -> np.ndarray:
    """The rows of the images that were named wrongly, the surest first; the arguments are those of `confident_mistakes`."""
    labels, confidences = np.asarray(labels), np.asarray(confidences)
    wrong = np.flatnonzero((labels >= 0) & (np.asarray(predictions) != labels))
    return wrong[np.argsort(-confidences[wrong], kind="stable")][:count]


def classification_sections(
    labels: np.ndarray,
    predictions: np.ndarray,
    confidences: np.ndarray | None = None,
    picture: Pictures | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    train_counts: np.ndarray | None = None,
    what: str = "",
) -> list[Section]:
    """The sections by class, by pair of classes, and, where there are pictures, of the most confident mistakes.

    Args:
        labels, predictions, confidences, picture, class_names, names, train_counts: of the sections.
        what: whose predictions they are, for the headings.
    """
    end = f": {what}" if what else ""
    sections: list[Section] = [
        PerClass(f"By class{end}", labels, predictions, class_names, train_counts),
        ConfusionMatrix(f"Confusion{end}", labels, predictions, class_names),
    ]
    if picture is not None and confidences is not None:
        title = f"The most confident mistakes{end}"
        sections.append(confident_mistakes(title, labels, predictions, confidences, picture, class_names, names))
    return sections
