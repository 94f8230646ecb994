"""How data become views, and views features: the half of a method that knows no objective."""

from __future__ import annotations

import itertools
import numbers
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import augment, distribute
from tfcontrastive.config import AugmentConfig, InputError
from tfcontrastive.data import checks
from tfcontrastive.encoders.whitening import before_whitening
from tfcontrastive.methods.checked_model import CheckedModel
from tfcontrastive.methods.micro_batch import encode_in_micro_batches
from tfcontrastive.methods.view_pairs import large_views


class ViewModel(CheckedModel):
    """A `CheckedModel` that takes views of images, or images of which it makes them. See `ContrastiveModel`.

    A subclass sets `encoder_shape` and `num_classes`.

    Args:
        augmentation: the policy that makes views, by name and strength; default: SimCLR's.
        seed: of the views that are made here.
        micro_batch_size: images that a network holds the activations of; 0: all.
    """

    num_views: int | None = None  # how many `views_loss` takes; None: any number
    least_views = 1
    takes_small_views = False  # True where `views_loss` takes views of several sizes, the large ones first
    least_images = 1  # of the global batch; 2 where an image alone has nothing to differ from

    def __init__(self, *, augmentation: AugmentConfig | None, seed: int, micro_batch_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        if not isinstance(augmentation, (AugmentConfig, type(None))):
            raise InputError(f"`augmentation` must be an AugmentConfig. Received: {augmentation!r}.")
        if not (isinstance(seed, (int, numbers.Integral)) and 0 <= seed < 2**32):
            raise InputError(f"`seed` must be a whole number in 0..{2**32 - 1}. Received: seed={seed!r}.")
        self.augmentation = augmentation or AugmentConfig()
        self.policy = self.make_policy(self.augmentation)
        self.seed = int(seed)
        self.micro_batch_size = micro_batch_size

    @classmethod
    def make_policy(cls, augmentation: AugmentConfig) -> augment.Policy:
        """How an image becomes views; as it stands, the named policy. A method of other crops, or more, makes its own.

        Args:
            augmentation: of the run; what a method leaves unread has no effect on its views.

        Returns:
            an `augment.Policy`: a `View` for each view, its `Geometry` with `size`, the view's side over `image_size`.

        Raises:
            InputError: more views than the method takes, or smaller ones.
        """
        policy = augment.policy_from_config(augmentation)
        views, large = len(policy.views), policy.geometries.count(policy.geometries[0])
        asked = augmentation.of_views or policy.image_size is not None
        if asked and (cls.num_views not in (None, views) or (large < views and not cls.takes_small_views)):
            takes = "any number of" if cls.num_views is None else cls.num_views
            given = {"augmentation": policy.name, **augmentation.of_views}
            small = f" and {views - large} small ones" if large < views else ""
            raise InputError(
                f"{cls.__name__} takes {takes} views of an image, all of one size. Received: {large} views{small}, by "
                f"{', '.join(f'{name}={value}' for name, value in given.items())}."
            )
        return policy

    def make_views(self, data: Any, step: tf.Tensor | None = None) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """The views `[B, H, W, C]` of one element of the data, and the rest of it: "label" `[B]` (-1: none), ...

        Args:
            data: the element.
            step: that views of whole images are a function of; None: the training step.

        Raises:
            InputError: data of another form, or another number of views or images than the method takes.
        """
        element, batch = self.read(data)
        views = list(element.views) if element.images is None else self.augment_images(element.images, step)
        if self.num_views not in (None, len(views)):
            raise InputError(f"{type(self).__name__} takes {self.num_views} views of an image. Received: {len(views)}.")
        if element.seeds is not None:
            pairs = zip(self.policy.views, views, strict=True)
            views = [view(images, element.seeds[:, i]) for i, (view, images) in enumerate(pairs)]
        if len(views) < self.least_views:
            raise InputError(
                f"{type(self).__name__} takes {self.least_views} views of an image or more. Received: {len(views)}."
            )
        images = views[0].shape[0]
        if images is not None and images * distribute.replica_count() < self.least_images:
            raise InputError(
                f"{type(self).__name__} compares images with one another: a batch must hold {self.least_images} or more. "
                f"Received: {images}."
            )
        return views, batch

    def augment_images(self, images: tf.Tensor, step: tf.Tensor | None = None) -> list[tf.Tensor]:
        """Whole views of images `[B, H, W, C]`: crop, flip and colors, a function of (seed, step, row, view) alone.

        Args:
            images: integers in 0..255, or floats in [0, 1].
            step: None: the training step.
        """
        images = tf.cast(checks.as_floats(images, asserted=self._asserts), tf.float32)
        seeds = self.view_seeds(tf.shape(images)[0], step)
        crops = self.crop_images(images, seeds)
        return [view(crop, seeds[:, i]) for i, (view, crop) in enumerate(zip(self.policy.views, crops, strict=True))]

    def view_seeds(self, count: tf.Tensor, step: tf.Tensor | None = None) -> tf.Tensor:
        """The seeds `[B, V, 2]` of a step's views, of this replica's `count` images; `step` None: the training step."""
        rows = tf.range(count) + distribute.replica_id() * count
        step = tf.cast(self.optimizer.iterations if step is None else step, tf.int32)
        return augment.row_seeds(self.seed, step, rows, num_views=len(self.policy.views))

    def crop_images(self, images: tf.Tensor, seeds: tf.Tensor) -> list[tf.Tensor]:
        """The policy's crops and flips of images `[B, H, W, C]`, float32 in [0, 1], by seeds `[B, V, 2]`: no colours."""
        sides = zip(*(self.policy.sides(length) for length in images.shape[1:3]), strict=True)
        both = enumerate(zip(self.policy.geometries, sides, strict=True))
        return [augment.random_view_geometry(images, seeds[:, i], geometry, side) for i, (geometry, side) in both]

    def required(self, batch: dict[str, tf.Tensor], name: str) -> tf.Tensor:
        """What the data bring beside views under this name.

        Raises:
            InputError: they do not.
        """
        if name not in batch:
            held = ", which a source of your own gives by `numbered`" if name == "index" else ""
            raise InputError(f"{type(self).__name__} needs `{name}` in its data{held}. Received: {sorted(batch)}.")
        return batch[name]

    def encode(self, network: keras.Model, images: tf.Tensor, training: bool) -> tf.Tensor:
        """Features `[B, F]` of images by the encoder or a copy of it: how `views_loss` calls them.

        With `micro_batch_size`, only so many images are in the network at a time. A whitening at its end is left out.
        """
        network = before_whitening(network)
        if not self.micro_batch_size or images.shape[0] == self.micro_batch_size:
            return network(images, training=training)
        return encode_in_micro_batches(network, images, self.micro_batch_size, training)

    def encode_views(self, network: keras.Model, views: Sequence[tf.Tensor], training: bool) -> tf.Tensor:
        """Features `[V * B, F]` of V views, view after view: one pass of the network for each run of views of one size.

        Args:
            network: the encoder, or a copy of it.
            views: V tensors `[B, H, W, C]`.
            training: as of the network; batch norm takes the statistics of a pass.
        """
        passes = [tf.concat(list(group), axis=0) for _, group in itertools.groupby(views, lambda view: view.shape[1:3])]
        features = [self.encode(network, images, training) for images in passes]
        return features[0] if len(features) == 1 else tf.concat(features, axis=0)

    def large_rows(self, features: tf.Tensor, views: Sequence[tf.Tensor]) -> tf.Tensor:
        """Of features `[V * B, F]`, as `encode_views` gives them, those of the large views: what the probe is to see."""
        large = large_views(views)
        return features if large == len(views) else features[: tf.shape(features)[0] // len(views) * large]
