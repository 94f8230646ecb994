"""Two networks on two groups of an image's channels, which are one encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from tfcontrastive.augment.lab import rgb_to_lab
from tfcontrastive.config import InputError
from tfcontrastive.encoders.checks import encoder_shape
from tfcontrastive.encoders.whitening import whitening_of

LAB = ((0,), (1, 2))
"""L, and a with b."""
# The middle and half of the width of each channel's range.
_MIDDLE, _HALF = (50.0, 6.025, -6.69), (50.0, 92.208, 101.17)

Groups = tuple[Sequence[int], Sequence[int]]


@keras.saving.register_keras_serializable("tfcontrastive")
class ChannelSplit(layers.Layer):
    """An image twice: with the channels of one group and zeros for the others, and so for the other group.

    Args:
        groups: two groups of channels, by number; None: L and ab of Lab, each scaled to [-1, 1].
        **kwargs: of `keras.layers.Layer`.

    Examples:
        >>> one, two = ChannelSplit([[0], [1, 2]])(tf.ones([1, 1, 1, 3]))
        >>> one.numpy().ravel(), two.numpy().ravel()
        (array([1., 0., 0.], dtype=float32), array([0., 1., 1.], dtype=float32))
    """

    def __init__(self, groups: Groups | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.groups = None if groups is None else [list(group) for group in groups]

    def call(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        if self.groups is None:
            images = (rgb_to_lab(images) - tf.constant(_MIDDLE, images.dtype)) / tf.constant(_HALF, images.dtype)
        one, two = (
            images * tf.constant([float(c in group) for c in range(images.shape[-1])], images.dtype)
            for group in self.groups or LAB
        )
        return one, two

    def compute_output_shape(self, input_shape: Sequence[int | None]) -> tuple:
        return tuple(input_shape), tuple(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("tfcontrastive")
class ChannelTowers(keras.Model):
    """Images `[B, H, W, C]` -> features `[B, F1 + F2]`: those of two networks, each of a group of the channels.

    Each network takes images of all C channels, of which those of the other group are zero: its weights for these have no
    effect, and any encoder can be a tower.

    Args:
        first, second: encoders `[B, H, W, C]` -> `[B, F]` for images of the same shape.
        groups: two groups of channels, by number, that share none; None: L and ab of the Lab of RGB images.
        name: of the model.

    Raises:
        InputError: no encoders, groups that share channels, or channels that the images have not.

    Examples:
        >>> images = keras.Input((32, 32, 3))
        >>> tower = keras.Model(images, layers.GlobalAveragePooling2D()(images))
        >>> ChannelTowers(tower, keras.models.clone_model(tower))(tf.zeros([2, 32, 32, 3])).shape
        TensorShape([2, 6])

    Source: Tian, Krishnan and Isola, "Contrastive Multiview Coding", arXiv 1906.05849, section 4.1.
    """

    def __init__(
        self, first: keras.Model, second: keras.Model, groups: Groups | None = None, name: str = "channel_towers"
    ):
        shape = encoder_shape(first)
        if whitening_of(first) is not None:
            raise InputError(
                f"`whiten_features` must be false of towers, which are two networks. Received: {first.name}."
            )
        check_groups(groups, shape.image[-1])
        if second.name == first.name:  # a graph of layers has one of each name
            second.name = f"{second.name}_second"
        dtype = "float64" if shape.dtype == "float64" else "float32"
        images = keras.Input(shape.image, name="images", dtype=dtype)
        one, two = ChannelSplit(groups, name="split", dtype=dtype)(images)
        features = layers.Concatenate(name="features", dtype=dtype)([first(one), second(two)])
        super().__init__(inputs=images, outputs=features, name=name)
        self.first, self.second, self.groups = first, second, groups

    def get_config(self) -> dict[str, Any]:
        towers = {"first": self.first, "second": self.second}
        told = {name: keras.saving.serialize_keras_object(tower) for name, tower in towers.items()}
        return {**told, "groups": self.groups, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ChannelTowers:
        towers = {
            name: keras.saving.deserialize_keras_object(config[name], custom_objects=custom_objects)
            for name in ("first", "second")
        }
        return cls(**{**config, **towers})


def check_groups(groups: Groups | None, channels: int) -> None:
    """Raises InputError where images of so many channels cannot be split so."""
    if groups is None and channels != 3:
        raise InputError(
            f"`channel_groups` must be two groups of channels, such as 0/1, of images that are not RGB. Received: lab with "
            f"images of {channels} {'channel' if channels == 1 else 'channels'}."
        )
    if groups is not None and max(map(max, groups)) >= channels:
        raise InputError(
            f"`channel_groups` must hold channels in 0..{channels - 1}, those of the images. Received: "
            f"{'/'.join(','.join(map(str, group)) for group in groups)}."
        )
