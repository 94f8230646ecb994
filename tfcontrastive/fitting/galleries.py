"""Pictures on the page: neighbours, suspects, duplicates, outliers, clusters."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfcontrastive import evaluate, report
from tfcontrastive.fitting import unlabelled
from tfcontrastive.fitting.measure import Measure
from tfcontrastive.fitting.pictures import Pictures
from tfcontrastive.fitting.request import Request
from tfcontrastive.fitting.result import FitResult
from tfcontrastive.fitting.suspects import Suspect
from tfcontrastive.system.names import escaped

_QUERIES, _FOUND = 8, 8
_SHOWN = 12
_OF_CLUSTER = 6


@dataclasses.dataclass(frozen=True)
class Story:
    """All that the page tells.

    Attributes:
        found: the result, without its numbers.
        request: what was asked for.
        measure: how encoders were measured.
        level: what chance gives.
        group: int `[N]` of the images, the same number for the same content.
        suspects: labels that neighbours contradict.
        clusters: groups of the images; None: too few.
        pictures: of the images, by number.
    """

    found: FitResult
    request: Request
    measure: Measure
    level: dict[str, float]
    group: np.ndarray
    suspects: list[Suspect]
    clusters: unlabelled.Clusters | None
    pictures: Pictures

    def held_out(self) -> tuple[np.ndarray, int]:
        """Features of the held-out images, or of all where there are none, and the number of the first of them."""
        features = self.found.own.features
        return (features.test, len(features.train)) if len(features.test) else (features.train, 0)

    def picture(self, row: int, name: str = "", detail: str = "", kind: str = "") -> report.Picture:
        """One image with its file's name under it."""
        own = escaped(self.found.ids[row])
        return report.Picture(self.pictures.of([row])[0], name or own, detail or (own if name else ""), kind, own)

    def class_name(self, row: int) -> str:
        """The class of an image; empty where it has none."""
        label = self.found.own.features.all_labels()[row]
        names = self.found.survey.class_names
        return names[label] if names and label >= 0 else ""


def neighbours(story: Story) -> report.PictureRows:
    """Held-out images, one of each class, with the images that are nearest."""
    features, first = story.held_out()
    labels = story.found.own.features.all_labels()[first : first + len(features)]
    if story.found.survey.class_names and (labels >= 0).any():
        queries = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels[labels >= 0])][:_QUERIES]
    else:
        queries = np.unique(np.linspace(0, len(features) - 1, min(_QUERIES, len(features))).astype(int)).tolist()
    memory = story.found.own.features.train
    same = first == 0  # a query is among the images that are searched
    count = min(_FOUND + same, len(memory))
    similarity, rows = evaluate.nearest_neighbours(features[queries], memory, k=count)
    shown = []
    for at, query in enumerate(queries):
        own = story.class_name(first + query)
        found = [
            story.picture(
                int(row), other := story.class_name(int(row)), f"{similarity[at, rank]:.3f}", _kind(own, other)
            )
            for rank, row in enumerate(rows[at])
            if not (same and row == query)
        ]
        shown.append((story.picture(first + query, own, kind="query"), found[:_FOUND]))
    caption = "An image, then the images that are nearest to it, with their cosine similarity."
    return report.PictureRows("Nearest neighbours", shown, caption=caption)


def _kind(own: str, other: str) -> str:
    return "" if not own or not other else "same" if own == other else "other"


def gallery_sections(story: Story) -> list[report.Section]:
    """Suspects, duplicates, outliers, clusters."""
    sections: list[report.Section] = []
    names = story.found.survey.class_names
    if names:
        pictures = [
            story.picture(
                doubted.row,
                f"{names[doubted.suggested]}?",
                f"labelled {names[doubted.label]}; {escaped(story.found.ids[doubted.row])}",
            )
            for doubted in story.suspects[:_SHOWN]
        ]
        caption = "Labels that the neighbours contradict, the surest first; all are in labels.csv."
        sections.append(report.Gallery("Labels to look at", pictures, caption, empty="No label is contradicted."))
    sections.append(duplicates(story))
    features = story.found.own.features.everywhere()
    far = np.argsort(-unlabelled.outliers(features), kind="stable")[:_SHOWN]
    caption = "The images that lie farthest from all others."
    sections.append(report.Gallery("Outliers", [story.picture(int(row)) for row in far], caption))
    if story.clusters is not None:
        sections.append(clusters(story, story.clusters))
    return sections


def duplicates(story: Story) -> report.Gallery:
    """Images of one content, and pairs that look nearly alike."""
    groups = []
    for number in np.flatnonzero(np.bincount(story.group) > 1)[:_SHOWN]:
        rows = np.flatnonzero(story.group == number)[:4]
        groups.append(tuple(story.picture(int(row), detail="identical") for row in rows))
    known = {name: row for row, name in enumerate(story.found.ids)}
    ids, splits = story.found.survey.parts["train"].ids, story.found.splits
    near = [(known.get(ids[i]), known.get(ids[j])) for i, j in story.found.survey.near]
    pairs = [(first, second) for first, second in near if first is not None and second is not None]
    for first, second in pairs[:_SHOWN]:
        groups.append(tuple(story.picture(row, detail="nearly alike") for row in (first, second)))
    caption = "The same file twice, and images that look alike."
    if len(set(splits)) > 1:
        apart = sum(splits[first] != splits[second] for first, second in pairs)
        caption += f" {f'{apart:,} pairs lie' if apart else 'No pair lies'} on both sides of the hold-out."
    return report.Gallery("Duplicates", groups, caption, empty="There are none.")


def clusters(story: Story, found: unlabelled.Clusters) -> report.PictureRows:
    """Some images of each group."""
    rows = []
    for number in range(min(found.count, _QUERIES)):
        own = np.flatnonzero(found.assigned == number)
        some = own[np.unique(np.linspace(0, len(own) - 1, min(_OF_CLUSTER + 1, len(own))).astype(int))]
        first, *others = (story.picture(int(row), story.class_name(int(row))) for row in some)
        first = dataclasses.replace(first, name=f"group {number + 1}", detail=f"{len(own):,} images")
        rows.append((first, others))
    caption = (
        f"{found.count} groups by k-means, as many as lie apart best (silhouette {found.silhouette:.2f}; above .5 they are "
        "clearly apart, near 0 they touch)."
    )
    return report.PictureRows("Groups", rows, caption=caption)
