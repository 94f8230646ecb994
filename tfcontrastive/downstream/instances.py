"""Instance classification: every image is a class of its own, whatever the view."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive.config import BaseConfig, setting
from tfcontrastive.data import Source
from tfcontrastive.data.encoded import forget_global_seed
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.downstream.anchored import Anchored
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.step_output import StepOutput

MOST_IMAGES = 20_000
"""Of which each has a row in the head, and an entry in each image's softmax."""


@dataclasses.dataclass(frozen=True)
class InstancesConfig(BaseConfig):
    """The settings of instance classification."""

    num_images: int = setting(2, "Images, each a class.", at_least=2)
    label_smoothing: float = setting(0.5, "Part of a label that is spread over all images.", at_least=0, below=1)


class _Instances(ContrastiveModel):
    """The objective alone, without an anchor."""

    Config = InstancesConfig
    metric_names: Sequence[str] = ("contrast_acc",)
    compares_images = False
    batch_keys = ("label",)

    def build_parts(self) -> None:
        self.projection_head = self.add_head(
            keras.layers.Dense(self.config.num_images, dtype=self.head_options["dtype"], name="instances")
        )

    def views_loss(self, views: Sequence[tf.Tensor], training: bool, label: tf.Tensor) -> StepOutput:
        features = self.encode_views(self.encoder, views, training)
        logits = self.projection_head(tf.cast(features, self.projection_head.compute_dtype))
        own = tf.tile(label, [len(views)])
        logs = tf.nn.log_softmax(logits)
        picked = tf.gather(logs, own, batch_dims=1)
        spread = self.config.label_smoothing
        loss = -tf.reduce_mean((1.0 - spread) * picked + spread * tf.reduce_mean(logs, axis=1))
        right = tf.cast(tf.argmax(logits, axis=1, output_type=own.dtype) == own, logits.dtype)
        return StepOutput(loss, {"contrast_acc": tf.reduce_mean(right)}, features)


class Instances(Anchored, _Instances):
    r"""Instance classification from a trained encoder, on features f(x) of a view x of image i, with a linear head W:

    $$ L = -(1 - s) \log p_i - \frac{s}{N} \sum_j \log p_j, \quad p = \operatorname{softmax}(W f(x)) $$

    The labels of the data must be the numbers of the images, see `Numbered`.

    Args: those of `Anchored` and `ContrastiveModel`.

    Examples:
        >>> model = Instances(encoder, InstancesConfig(num_images=1000), anchor=1.0)

    Source: Ibrahim and Balestriero, "Occam's Razor for Self Supervised Learning: What is Sufficient to Learn Good
    Representations?", arXiv 2406.10743, as DIET-CP continues pre-training with it. Differs: all layers are let go, one by
    one, and an anchor holds them.
    """

    metric_names = (*_Instances.metric_names, "moved")


class Numbered(Source):
    """A source whose labels are the numbers of its images in the split: what `Instances` learns.

    Args:
        source: of any kind.

    Examples:
        >>> Numbered(tfcontrastive.data.load("embedded")).arrays("train")[1][:3].tolist()
        [0, 1, 2]
    """

    def __init__(self, source: Source):
        self._source = source
        self.name, self.splits, self.channels = source.name, source.splits, source.channels
        self.files, self.missing, self.rendering = source.files, source.missing, source.rendering

    def num_examples(self, split: str) -> int:
        return self._source.num_examples(split)

    def look(self, split: str) -> None:
        self._source.look(split)

    def rendered(self, rendering: Rendering) -> Numbered:
        return Numbered(self._source.rendered(rendering))

    def arrays(self, split: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        held = self._source.arrays(split)
        return None if held is None else (held[0], np.arange(len(held[0]), dtype=np.int32))

    @tf.autograph.experimental.do_not_convert
    def references(self, split: str, seeds: tf.Tensor | None = None) -> tf.data.Dataset:
        """As `Source.references`; an order is one of all images at once."""
        numbered = self._source.references(split).enumerate()
        pairs = numbered.map(lambda row, example: (example[0], tf.cast(row, tf.int32)))
        if seeds is None:
            return pairs
        forget_global_seed()
        return pairs.shuffle(self.num_examples(split), seed=seeds[1], reshuffle_each_iteration=False)

    def read(self, reference: tf.Tensor) -> tf.Tensor:
        """As `Source.read`."""
        return self._source.read(reference)
