"""What an evaluation is, and the base of those that look at the features of a frozen encoder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import Checked, InputError, option
from tfcontrastive.evaluate.features import extract_features, input_shape
from tfcontrastive.evaluate.labelled_features import LabelledFeatures


@runtime_checkable
class Evaluator(Protocol):
    """Measures an encoder (`[B, H, W, C]` -> `[B, F]`) on a data source: `{name of the value: value}`."""

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]: ...


@dataclasses.dataclass(frozen=True)
class FeatureEvaluator(Checked):
    """Base of the evaluators that need the features only: a subclass writes `measure`.

    Where several share an encoder, extract once and measure often:

    ```python
    features = labelled_features(encoder, source)
    results = KNN().measure(features) | Linear().measure(features)
    ```
    """

    train_split: str = option("train", "Split whose features and labels the probe learns from.")
    eval_split: str = option("test", "Split that the probe is tested on.")
    eval_batch_size: int = option(256, "Images that the encoder takes at a time.", at_least=1)
    image_size: int | None = option(None, "Height and width; else the encoder's or the data's own.", at_least=1)

    def run(self, encoder: Callable[..., tf.Tensor], source: data.Source) -> dict[str, float]:
        """Extracts the features of both splits and measures them: `{name: value}`."""
        return self.measure(
            labelled_features(
                encoder,
                source,
                train_split=self.train_split,
                eval_split=self.eval_split,
                batch_size=self.eval_batch_size,
                image_size=self.image_size,
            )
        )

    def measure(self, features: LabelledFeatures) -> dict[str, float]:
        """What a subclass makes of the features: `{name: value}`."""
        raise NotImplementedError


def labelled_features(
    encoder: Callable[..., tf.Tensor],
    source: data.Source,
    *,
    train_split: str = "train",
    eval_split: str = "test",
    batch_size: int = 256,
    image_size: int | None = None,
    train_limit: int | None = None,
    eval_limit: int | None = None,
) -> LabelledFeatures:
    """The features of a train and a test split of a source.

    Args:
        encoder: maps `[B, H, W, C]` images in [0, 1] to `[B, F]`.
        source: from `tfcontrastive.data.load`, with labels.
        train_split, eval_split: splits of the source, or expressions such as `train[:10%]`.
        batch_size: images at a time.
        image_size: height and width; when None, the encoder's fixed input size, else the size of the source's images.
        train_limit, eval_limit: take only the first so many examples.

    Raises:
        InputError: for a source without labels, a split it does not have, or images the encoder cannot take.
    """
    if source.num_classes is None:
        raise InputError(f"`source` must be labelled to be evaluated. Received: {source.name} without labels.")
    size = image_size or default_image_size(encoder, source, eval_split)
    parts = []
    for split, limit in ((train_split, train_limit), (eval_split, eval_limit)):
        batches = data.eval_batches(source, split, batch_size=batch_size, image_size=size, limit=limit)
        parts += extract_features(encoder, batches)
    return LabelledFeatures(*parts, num_classes=source.num_classes)


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

    ```python
    evaluate([KNN(), Linear()], encoder, tfcontrastive.data.load("embedded"))
    ```
    """
    results, extracted = {}, {}
    for evaluator in evaluators:
        if not isinstance(evaluator, FeatureEvaluator):
            results |= evaluator.run(encoder, source)
            continue
        key = (evaluator.train_split, evaluator.eval_split, evaluator.eval_batch_size, evaluator.image_size)
        if key not in extracted:
            names = ("train_split", "eval_split", "batch_size", "image_size")
            extracted[key] = labelled_features(encoder, source, **dict(zip(names, key, strict=True)))
        results |= evaluator.measure(extracted[key])
    return results
