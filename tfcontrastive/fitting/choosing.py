"""The images that choose: what an encoder is worth on them, by their labels or, without any, by their own views."""

from __future__ import annotations

import dataclasses
import os

import keras
import numpy as np

from tfcontrastive import augment, data, evaluate
from tfcontrastive.callbacks.keep_best import Reading
from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.data.held_out import HeldOut
from tfcontrastive.fitting.holdout import hold_out
from tfcontrastive.fitting.measure import neighbours_of
from tfcontrastive.fitting.unlabelled import by_views

FILE = "choosing.json"
"""Lists which of the images that are not held out choose; they are not trained on either."""

FRACTION = 0.25
_MOST_CHOOSING, _MOST_REMEMBERED, _MOST_SEEN = 4_000, 4_000, 500
_FEWEST = 8
_VIEWS = 3  # of each image, where there are no labels


@dataclasses.dataclass(frozen=True)
class Parts:
    """Images for each purpose.

    Attributes:
        source: with the splits `train`, to learn from; `choosing`; and `memory`, of `train`, which kNN looks at.
        labelled: there are labels to choose by.
        learned: int `[N]`, the images of `train` among those that were given.
    """

    source: data.Source
    labelled: bool
    learned: np.ndarray


def parts_of(
    source: data.Source, labels: np.ndarray, group: np.ndarray, path: str, *, seed: int, num_classes: int | None
) -> Parts:
    """Sets a quarter of each class of `train` apart, to choose by; which, is listed in a file.

    Args:
        source: the images, without those that are reported on.
        labels: int `[N]` of `train`, -1 where there is none.
        group: int `[N]`, the same number for the same content.
        path: of the list, which is read where there is one.
        seed: of the choice.
        num_classes: None without labels.

    Raises:
        InputError: too few images.
    """
    count = source.num_examples("train")
    if os.path.exists(path):
        rest, chosen = HeldOut.read(path).rows(count, source.name)
    else:
        chosen = _chosen(labels, group, seed)
        if len(chosen) < _FEWEST:
            raise InputError(
                f"`dataset` must have more images, or what is learned from them cannot be told from chance. Received: "
                f"{count:,} of {source.name}, of which {len(chosen)} could be set apart to choose by; {_FEWEST} are needed."
            )
        HeldOut(count, tuple(chosen.tolist()), seed).write(path)
        rest = np.setdiff1d(np.arange(count), chosen)
    known = rest[labels[rest] >= 0]
    asked = chosen[np.isin(labels[chosen], np.unique(labels[known]))]
    labelled = num_classes is not None and len(np.unique(labels[known])) >= 2 and len(asked) >= _FEWEST
    memory, queries = (known, asked) if labelled else (rest, chosen)
    splits = {
        "train": ("train", rest),
        "memory": ("train", _evenly(memory, _MOST_REMEMBERED)),
        "choosing": ("train", _evenly(queries, _MOST_CHOOSING)),
    }
    return Parts(data.Subset(source, splits), labelled, rest)


def enough(labels: np.ndarray, group: np.ndarray, *, seed: int) -> bool:
    """Whether images can be set apart to choose by; the arguments are those of `parts_of`."""
    return len(_chosen(labels, group, seed)) >= _FEWEST


class Chooser:
    """Measures encoders on the images that choose.

    With labels, an image's score is whether kNN names its class; else, how often it is the nearest of all to a view of its
    own. An extractor is kept for each encoder, so that measuring one again compiles nothing.

    Args:
        parts: the images.
        config: of the run.
        preprocessing: of the encoder.
        policy: that makes views.
    """

    def __init__(
        self,
        parts: Parts,
        config: AdaptConfig | TrainConfig,
        preprocessing: data.Preprocessing,
        policy: augment.Policy,
    ):
        self._parts, self._config, self._preprocessing, self._policy = parts, config, preprocessing, policy
        self._extractors: dict[int, evaluate.FeatureExtractor] = {}
        self._seen: np.ndarray | None = None

    @property
    def probe(self) -> str:
        """The metric that it chooses by."""
        return "knn_top1" if self._parts.labelled else "retrieval_top1"

    def __call__(self, encoder: keras.Model) -> Reading:
        """The score of each image, and what they make together."""
        if not self._parts.labelled:
            return self._by_views(encoder)
        features = self.features(encoder)
        loop = self._config.loop
        sizes = np.bincount(features.train_labels)
        votes = evaluate.knn_scores(
            features.train_features, features.train_labels, features.features, num_classes=features.num_classes,
            k=neighbours_of(sizes[sizes > 0], loop.knn_k), temperature=loop.knn_temperature,
        )  # fmt: skip
        hits = evaluate.top_k_hits(votes, features.labels, 1).astype(float)
        return Reading(
            hits, {"knn_top1": float(hits.mean()), "effective_rank": evaluate.effective_rank(features.features)}
        )

    def linear(self, encoder: keras.Model) -> np.ndarray | None:
        """Whether a linear probe names each image's class, float `[N]`; None without labels."""
        if not self._parts.labelled:
            return None
        features = self.features(encoder)
        logits, _ = evaluate.linear_scores(
            features.train_features, features.train_labels, features.features, num_classes=features.num_classes,
            seed=self._config.loop.seed,
        )  # fmt: skip
        return evaluate.top_k_hits(logits, features.labels, 1).astype(float)

    def features(self, encoder: keras.Model) -> evaluate.LabelledFeatures:
        """Of `memory` and of `choosing`."""
        extract = self._extractors.setdefault(id(encoder), evaluate.FeatureExtractor(encoder))
        memory, choosing = extract(self._batches("memory")), extract(self._batches("choosing"))
        return evaluate.LabelledFeatures(*memory, *choosing, self._parts.source.num_classes or 0)

    def _by_views(self, encoder: keras.Model) -> Reading:
        if self._seen is None:
            batches = [batch["image"].numpy() for batch in self._batches("choosing", limit=_MOST_SEEN)]
            self._seen = np.concatenate(batches)
        extract = self._extractors.setdefault(id(encoder), evaluate.FeatureExtractor(encoder))
        rank = evaluate.effective_rank(extract(self._batches("choosing"))[0])
        seed = self._config.loop.seed
        scores, lidar = by_views(encoder, self._seen, self._policy, seeds=[seed + 1 + view for view in range(_VIEWS)])
        return Reading(scores, {"retrieval_top1": float(scores.mean()), "effective_rank": rank, "lidar": lidar})

    def _batches(self, split: str, limit: int | None = None):
        return data.eval_batches(
            self._parts.source,
            split,
            batch_size=self._config.loop.eval_batch_size,
            image_size=self._config.data.image_size,
            limit=limit,
            preprocessing=self._preprocessing,
        )


def _chosen(labels: np.ndarray, group: np.ndarray, seed: int) -> np.ndarray:
    return hold_out(labels, group, fraction=FRACTION, seed=seed + 1)


def _evenly(rows: np.ndarray, most: int) -> np.ndarray:
    """So many of the rows at most, evenly spaced: of a folder, all classes."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int))]
