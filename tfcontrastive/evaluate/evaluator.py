"""What an evaluation is, and the base of those that look at the features of a frozen encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.config.protocols.base import FeatureSettings
from tfcontrastive.data.bag import Bag
from tfcontrastive.data.held_out import HELD_OUT
from tfcontrastive.evaluate.bags import mean_of_bag
from tfcontrastive.evaluate.features import extract_features, input_shape, taken_by
from tfcontrastive.evaluate.labelled_features import LabelledFeatures
from tfcontrastive.evaluate.predictions import Predictions

PARTS = ("top1", "top5", "class", "map", "low", "high", "accuracy", "error", "ce", "mce")
"""Names of values that are parts of one, by their last word."""


@runtime_checkable
class Evaluator(Protocol):
    """Measures an encoder on a data source.

    An encoder is whatever maps images to features, `encoder(images, training=False)`: `[B, H, W, C]` in [0, 1] ->
    `[B, F]`. What a protocol needs besides, it takes from the attributes that a `Trained` and a `ContrastiveModel`
    share: `encoder` (the network itself) and `projection_head`.

    An evaluator is a frozen config, whose fields are the flags of its protocol. The first value that it returns is the
    one to look at first; values between 0 and 1 whose name ends in a word of `PARTS` are shown as percentages.
    """

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source | None) -> dict[str, float]:
        """The values by name, such as `{"knn_top1": 0.81}`. A `/` in a name makes groups: `robustness_error/fog/3`."""
        ...


@dataclasses.dataclass(frozen=True)
class FeatureEvaluator(FeatureSettings):
    """Base of the evaluators that need the features only: a subclass writes `measure`.

    Where several share an encoder, extract once and measure often:

    Examples:
        >>> from tfcontrastive.evaluate import KNN, Linear, labelled_features
        >>> features = labelled_features(encoder, tfcontrastive.data.load("embedded"))
        >>> KNN().measure(features) | Linear().measure(features)
        {'knn_top1': ..., 'linear_top1': ..., ...}
    """

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]:
        """Extracts the features of both splits and measures them: `{name: value}`."""
        return self.measure(self.features(encoder, source))

    def features(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> LabelledFeatures:
        """The features that `measure` takes."""
        return labelled_features(
            encoder,
            source,
            train_split=self.train_split,
            eval_split=self.eval_split,
            batch_size=self.eval_batch_size,
            image_size=self.image_size,
            bag=self.bag,
        )

    @property
    def bag(self) -> Bag | None:
        """The crops of each image whose features are averaged; None: the features are of whole images."""
        return None

    @property
    def needs_features_only(self) -> bool:
        """Whether `measure` is all there is to it, so that evaluators may share features. Not so with a `run` of its own."""
        return type(self).run is FeatureEvaluator.run

    def measure(self, features: LabelledFeatures) -> dict[str, float]:
        """What a subclass makes of the features: `{name: value}`."""
        raise NotImplementedError

    def measured(self, features: LabelledFeatures) -> tuple[dict[str, float], Predictions | None]:
        """The values of `measure`, and what was said of each test image, by an evaluator that classifies them."""
        return self.measure(features), None


def labelled_features(
    encoder: Callable[..., tf.Tensor],
    source: data.Source,
    *,
    train_split: str = "train",
    eval_split: str | None = None,
    batch_size: int = 256,
    image_size: int | None = None,
    train_limit: int | None = None,
    eval_limit: int | None = None,
    bag: Bag | None = None,
) -> LabelledFeatures:
    """The features of a train and a test split of a source.

    Args:
        encoder: maps `[B, H, W, C]` images in [0, 1] to `[B, F]`; its `preprocessing`, if it tells one, crops and resizes.
        source: from `tfcontrastive.data.load`, with labels.
        train_split, eval_split: splits of the source, or expressions such as `train[:10%]`. None tests on
            `held_out_split(source)`.
        batch_size: images at a time.
        image_size: height and width; when None, the encoder's fixed input size, else the size of the source's images.
        train_limit, eval_limit: take only the first so many examples.
        bag: the features are means over these crops of each image; None: those of whole images.

    Raises:
        InputError: for a source without labels, a split it does not have, or images the encoder cannot take.
    """
    if source.num_classes is None:
        raise InputError(f"`source` must be labelled to be evaluated. Received: {source.name} without labels.")
    source = taken_by(encoder, source)
    eval_split = eval_split or held_out_split(source)
    size = image_size or default_image_size(encoder, source, eval_split)

    rule = data.Preprocessing.of(encoder)

    def part(split: str, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
        shown: dict[str, Any] = {"image_size": size, "limit": limit}
        if bag is None:
            batches = data.eval_batches(source, split, batch_size=batch_size, preprocessing=rule, **shown)
            features, labels = extract_features(encoder, batches)
        else:
            rendered = source.rendered(rule.rendering(source.rendering))
            batches = bag.batches(rendered, split, batch_size=max(1, batch_size // bag.crops), **shown)
            features, labels = extract_features(mean_of_bag(encoder), batches)
        known = labels >= 0  # of images that nobody labelled there is nothing to measure
        return (features, labels) if known.all() else (features[known], labels[known])

    train, test = part(train_split, train_limit), part(eval_split, eval_limit)
    return LabelledFeatures(*train, *test, num_classes=source.num_classes)


def held_out_split(source: data.Source) -> str:
    """The split that numbers are of: `held_out` where a list says so, `test`, or `validation` if no test has labels.

    Raises:
        InputError: there is neither.
    """
    for name in (HELD_OUT, "test", "validation", "valid", "val", "dev"):
        if name in source.splits and _is_labelled(source, name):
            return name
    raise InputError(
        f"`eval_split` must be given for {source.name}, which has no labelled test or validation split; a part of "
        f"another split can be held out, as in --train_split=train[:90%] --eval_split=train[90%:]. "
        f"Received: the splits {', '.join(source.splits)}."
    )


def _is_labelled(source: data.Source, split: str) -> bool:
    """Whether a split has labels: those of its first image tell, but where only some have any."""
    if getattr(source, "partly_labelled", False):  # what only looks like a `Source` need not tell
        return split not in source.unlabelled_splits
    held = source.arrays(split)
    if held is not None:
        return held[1] is not None and held[1][0] >= 0
    first = next(iter(data.eval_batches(source, split, batch_size=1, image_size=1, limit=1)))
    return bool(first["label"][0] >= 0)


def default_image_size(encoder: Callable[..., tf.Tensor], source: data.Source, split: str) -> int:
    """The height an encoder asks for, else that of a source's images in memory.

    Raises:
        InputError: when neither is known.
    """
    shape = input_shape(encoder)
    if shape is not None and shape[1] is not None:
        return int(shape[1])
    arrays = source.arrays(split)
    if arrays is None:
        raise InputError(f"`image_size` must be given for {source.name}, whose images vary in size. Received: None.")
    return int(arrays[0].shape[1])


def evaluate(
    evaluators: Iterable[Evaluator], encoder: Callable[..., tf.Tensor], source: data.Source
) -> dict[str, float]:
    """Runs several evaluators on one encoder and joins their values.

    Features are extracted once for all the `FeatureEvaluator`s that ask for the same ones.

    Examples:
        >>> from tfcontrastive.evaluate import KNN, Linear
        >>> evaluate([KNN(), Linear()], encoder, tfcontrastive.data.load("embedded"))
        {'knn_top1': ..., 'linear_top1': ..., ...}
    """
    results: dict[str, float] = {}
    extracted: dict[tuple[Any, ...], LabelledFeatures] = {}
    for evaluator in evaluators:
        if not isinstance(evaluator, FeatureEvaluator) or not evaluator.needs_features_only:
            results |= evaluator.run(encoder, source)
            continue
        key = (
            evaluator.train_split,
            evaluator.eval_split,
            evaluator.eval_batch_size,
            evaluator.image_size,
            evaluator.bag,
        )
        if key not in extracted:
            extracted[key] = evaluator.features(encoder, source)
        results |= evaluator.measure(extracted[key])
    return results
