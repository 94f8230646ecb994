"""Labels that the neighbours of an image contradict."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Sequence

import numpy as np

from tfcontrastive import evaluate, storage
from tfcontrastive.system.names import escaped

_NEIGHBOURS = 20
_SURE = 0.6  # of the votes for the other class, over those for the own


@dataclasses.dataclass(frozen=True)
class Suspect:
    """An image whose neighbours have another label.

    Attributes:
        row: its number among all images.
        label, suggested: classes by number.
        confidence: votes for the suggested class less those for its own, parts of one.
    """

    row: int
    label: int
    suggested: int
    confidence: float


def suspects(features: np.ndarray, labels: np.ndarray, group: np.ndarray, num_classes: int) -> list[Suspect]:
    """Labelled images whose nearest neighbours mostly have one other label, the surest first.

    Neighbours vote with weights exp(similarity / T), T = 0.1, each class divided by its share of the images; an image and
    its exact copies have no vote.

    Args:
        features: `[N, F]`.
        labels: int `[N]`, -1 where there is none.
        group: int `[N]`, the same number for the same content.
        num_classes: C.
    """
    known = np.flatnonzero(labels >= 0)
    if len(known) < 10:
        return []
    own, counts = labels[known], np.bincount(labels[known], minlength=num_classes)
    k = int(min(_NEIGHBOURS, max(2, np.median(counts[counts > 0]))))
    copies = int(np.bincount(group[known] - group[known].min()).max())
    similarity, rows = evaluate.nearest_neighbours(features[known], features[known], k=min(k + copies, len(known)))
    weights = np.exp((similarity - similarity[:, :1]) / 0.1) * (group[known][rows] != group[known][:, None])
    votes = np.zeros([len(known), num_classes])
    np.add.at(votes, (np.arange(len(known))[:, None], own[rows]), weights)
    votes = votes / np.maximum(counts, 1)
    votes /= np.maximum(votes.sum(axis=1, keepdims=True), 1e-12)
    best = votes.argmax(axis=1)
    margin = votes.max(axis=1) - votes[np.arange(len(known)), own]
    found = [
        Suspect(int(known[at]), int(own[at]), int(best[at]), float(margin[at]))
        for at in np.flatnonzero((best != own) & (margin >= _SURE))
    ]
    return sorted(found, key=lambda suspect: -suspect.confidence)


def write_suspects(path: str, found: Sequence[Suspect], ids: Sequence[str], class_names: Sequence[str]) -> None:
    """A CSV file of them: file, label, suggested, confidence."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "label", "suggested", "confidence"])
    for suspect in found:
        names = escaped(class_names[suspect.label]), escaped(class_names[suspect.suggested])
        rows.writerow([escaped(ids[suspect.row]), *names, f"{suspect.confidence:.3f}"])
    storage.write(path, text.getvalue())
