"""Which images were measured: their ids, splits and content."""

from __future__ import annotations

import os

import numpy as np

from tfcontrastive import data
from tfcontrastive.data.held_out import HELD_OUT, HeldOut
from tfcontrastive.fitting.measure import MOST, Measure
from tfcontrastive.fitting.request import Request
from tfcontrastive.fitting.survey import Survey, ids_of


def rows_of(
    request: Request, seen: Survey, source: data.Source, measure: Measure
) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray]:
    """Of the measured images, train first: id, split, and the number of their content."""
    ids: list[str] = []
    splits: list[str] = []
    for split in measured_splits(measure):
        own = _ids(request, seen, source, split)
        ids += own
        splits += [split.partition("[")[0]] * len(own)
    known = {
        name: int(number) for part in seen.parts.values() for name, number in zip(part.ids, part.group, strict=True)
    }
    unknown = max(known.values(), default=0) + 1
    return (
        tuple(ids),
        tuple(splits),
        np.array([known.get(name, unknown + row) for row, name in enumerate(ids)], np.int64),
    )


def measured_splits(measure: Measure) -> list[str]:
    """The splits whose images are measured, train first."""
    return [measure.train_split, *([measure.split] if measure.split is not None else [])]


def _ids(request: Request, seen: Survey, source: data.Source, split: str) -> list[str]:
    count = min(source.num_examples(split), MOST)
    path = os.path.join(request.config.loop.model_dir, f"{HELD_OUT}.json")
    if request.folder is None and split in ("train", HELD_OUT) and os.path.exists(path):
        part = seen.parts["train"]
        kept, out = HeldOut.read(path).rows(len(part), seen.name)
        return [part.ids[row] for row in (kept if split == "train" else out)][:count]
    return list(ids_of(source, split)[:count])
