"""The mean feature of a bag of crops of an image, and how values of it are told from those of whole images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfcontrastive.config.protocols.base import BagSettings
from tfcontrastive.data.bag import Bag


def bag_of(settings: BagSettings) -> Bag | None:
    """The bag that an evaluator asks for; None: whole images."""
    return Bag(settings.bag_crops, settings.bag_area) if settings.bag_crops > 1 else None


def bag_settings(settings: BagSettings) -> dict[str, Any]:
    """What the values of an evaluator depend on besides, where it asks for a bag."""
    if bag_of(settings) is None:
        return {}
    return {"bag_crops": settings.bag_crops, "bag_area": settings.bag_area}


def bag_named(protocol: str, values: dict[str, float], bag: Bag | None) -> dict[str, float]:
    """Values under names that no value of whole images has.

    Examples:
        >>> bag_named("knn", {"knn_top1": 0.5}, Bag(crops=16, area=0.25))
        {'knn_bag16_top1': 0.5}
    """
    if bag is None:
        return values
    own = f"{protocol}_bag{bag.crops}_"
    return {own + name.removeprefix(f"{protocol}_"): value for name, value in values.items()}


def mean_of_bag(encoder: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """An encoder of bags: `[b, V, S, S, C]` -> the mean over the crops of the features, `[b, F]` float32.

    Args:
        encoder: `(images, training=False)`: `[B, S, S, C]` -> `[B, F]`.

    Examples:
        >>> encode = mean_of_bag(lambda images, training=False: tf.reduce_sum(images, [1, 2]))
        >>> encode(tf.ones([2, 8, 3, 3, 1])).numpy().tolist()
        [[9.0], [9.0]]

    Source: Tong et al., EMP-SSL, arXiv 2304.03977, and its code; after Chen et al., arXiv 2206.08954.
    """

    def encode(bags: tf.Tensor, training: bool = False) -> tf.Tensor:
        crops = bags.shape[1]
        features = encoder(tf.reshape(bags, [-1, *bags.shape[2:]]), training=training)
        features = tf.cast(features, tf.float32)
        return tf.reduce_mean(tf.reshape(features, [-1, crops, features.shape[-1]]), axis=1)

    return encode
