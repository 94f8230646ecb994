"""Which images are held out: a fifth of each class, drawn by a seed, with images that are alike on one side."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from tfcontrastive import data
from tfcontrastive.data.held_out import HeldOut
from tfcontrastive.fitting.duplicates import together
from tfcontrastive.fitting.survey import Survey
from tfcontrastive.runs.inputs import eval_split

FRACTION = 0.2
_FEWEST_TO_HOLD_OUT = 8  # images; of fewer all are trained on


@dataclasses.dataclass(frozen=True)
class Kept:
    """The config and the images of a command, with those that are held out apart."""

    config: Any
    source: data.Source


def drawn(
    config: Any, source: data.Source, seen: Survey, path: str, *, by_path: bool, say: Callable[[str], None]
) -> Kept:
    """Holds images out as a list says that was drawn before, or draws one now, where the data has no such split.

    Args:
        config: of a run.
        source: its images.
        seen: what they are.
        path: of the list.
        by_path: images are listed by their paths below a folder, not by their numbers.
        say: is told what is held out, or why nothing is.
    """
    if os.path.exists(path):
        return Kept(_with_list(config, path), data.with_held_out(source, HeldOut.read(path)))
    if config.data.held_out is not None or eval_split(config, source) is not None:
        return Kept(config, source)
    if config.data.train_split != "train":
        say(f"Nothing is held out of {config.data.train_split}: name an --eval_split, or leave --train_split out.")
        return Kept(config, source)
    part = seen.parts["train"]
    if len(part) < _FEWEST_TO_HOLD_OUT:
        say(f"Nothing is held out, and no accuracy measured: there are {len(part)} images.")
        return Kept(config, source)
    seed = config.loop.seed
    rows = hold_out(part.labels, together(part.group, seen.near, part.labels), seed=seed)
    if not len(rows):
        say("Nothing is held out: all images are identical.")
        return Kept(config, source)
    images = [part.ids[row] for row in rows] if by_path else rows.tolist()
    held_out = HeldOut(len(part), tuple(images), seed)
    held_out.write(path)
    by_class = " of each class" if seen.class_names else ""
    say(
        f"Held out: {len(rows):,} of {len(part):,} images, about {FRACTION:.0%}{by_class}, those that are alike on one "
        f"side; nothing is tuned on them; listed in {path}."
    )
    return Kept(_with_list(config, path), data.with_held_out(source, held_out))


def kept_rows(seen: Survey, source: data.Source, config: Any) -> np.ndarray:
    """The places in the survey of the images that are still in `train`, in that order.

    Args:
        seen: what all images are.
        source: without those that are held out.
        config: of a run, with the list of these.
    """
    part = seen.parts["train"]
    if len(part) == source.num_examples("train"):
        return np.arange(len(part))
    held_out = HeldOut.read(config.data.held_out or "")
    if isinstance(held_out.images[0], int):
        return held_out.rows(len(part), seen.name)[0]
    listed = set(held_out.images)
    return np.array([row for row, one in enumerate(part.ids) if one not in listed])


def _with_list(config: Any, path: str) -> Any:
    return dataclasses.replace(config, data=dataclasses.replace(config.data, held_out=path))


def hold_out(labels: np.ndarray, group: np.ndarray, *, fraction: float = FRACTION, seed: int = 0) -> np.ndarray:
    """A random part of the images, of each class alike.

    Images of one group are all held out or all kept; a group belongs to the class of its first image. Of a class of n
    images about `fraction * n` are held out, at least one group and never all: a class of a single group is kept.

    Args:
        labels: int `[N]`; -1, no label, is a class like others.
        group: int `[N]`, the same number for what must lie on one side, as `duplicates.together` gives it.
        fraction: in (0, 1).
        seed: of the choice.

    Returns:
        int64 `[M]`, positions, ascending.

    Examples:
        >>> len(hold_out(np.repeat([0, 1], 10), np.arange(20)))
        4
    """
    labels, group = np.asarray(labels), np.asarray(group)
    rng = np.random.default_rng(seed)
    _, first, inverse, size = np.unique(group, return_index=True, return_inverse=True, return_counts=True)
    of_group = labels[first]
    out = np.zeros(len(first), bool)
    for label in np.unique(of_group):
        own = rng.permutation(np.flatnonzero(of_group == label))
        if len(own) < 2:
            continue
        wanted = fraction * size[own].sum()
        taken = 0
        for unit in own[:-1]:
            # A group of many copies is passed over where it would take the part farther from what is wanted.
            if abs(taken + size[unit] - wanted) > abs(taken - wanted):
                continue
            out[unit] = True
            taken += size[unit]
            if taken >= wanted:
                break
        if not taken:
            out[own[np.argmin(size[own])]] = True
    return np.flatnonzero(out[inverse])
