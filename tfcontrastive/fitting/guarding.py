"""The guard of `fit` from trained weights: what training made of them is taken only where other images find it better."""

from __future__ import annotations

import os

import keras
import numpy as np

from tfcontrastive import augment, data
from tfcontrastive.callbacks.keep_best import weighed
from tfcontrastive.config import TrainConfig
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.downstream.adapt import KEPT
from tfcontrastive.fitting.choosing import Chooser, Parts, enough, parts_of
from tfcontrastive.fitting.duplicates import together
from tfcontrastive.fitting.holdout import kept_rows
from tfcontrastive.fitting.judging import Judgement, judge
from tfcontrastive.fitting.survey import Survey

NAMES = ("trained", "given")
"""The encoder after training, and the weights that it started from, as metrics.json names them."""

_UNJUDGED = "too few images could be set apart to choose by: the trained encoder is handed over unjudged"


def images_that_choose(config: TrainConfig, source: data.Source, seen: Survey, path: str) -> Parts | None:
    """Sets images apart to choose by, as `adapt` does; None where there are too few, or a part of `train` was asked for.

    Args:
        config: of the run, with its held-out images.
        source: without these.
        seen: what all images are.
        path: of the list, which is read where there is one.
    """
    if config.data.train_split != "train":
        return None
    part, rows = seen.parts["train"], kept_rows(seen, source, config)
    labels, group, seed = part.labels[rows], together(part.group, seen.near, part.labels)[rows], config.loop.seed
    if not os.path.exists(path) and not enough(labels, group, seed=seed):
        return None
    return parts_of(source, labels, group, path, seed=seed, num_classes=source.num_classes)


def judged(
    parts: Parts | None,
    config: TrainConfig,
    given: keras.Model,
    trained: keras.Model,
    policy: augment.Policy,
    *,
    step: int,
) -> Judgement:
    """Whether the trained encoder is taken, or the weights that were given.

    Args:
        parts: of `images_that_choose`.
        config: of the run.
        given, trained: the encoder before and after.
        policy: that makes views, where there are no labels.
        step: of the trained one.
    """
    if parts is None:
        return Judgement("trained", _UNJUDGED, {"chosen": "trained", "reason": _UNJUDGED})
    rules = AdaptConfig()
    chooser = Chooser(parts, config, data.Preprocessing.of_run(config.encoder, config.data), policy)
    floors = {} if parts.labelled else KEPT
    row = weighed(step, chooser(trained), chooser(given), certainty=rules.certainty, floors=floors)
    linear: tuple[np.ndarray, np.ndarray] | None = None
    if parts.labelled and row["worth"] > rules.margin:
        now, then = chooser.linear(trained), chooser.linear(given)
        linear = None if now is None or then is None else (now, then)
    return judge(
        row if row["counts"] else None, probe=chooser.probe, margin=rules.margin, certainty=rules.certainty,
        linear=linear, state="trained encoder", names=NAMES,
    )  # fmt: skip
