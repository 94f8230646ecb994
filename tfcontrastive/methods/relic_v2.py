"""ReLIC v2: ReLIC of many views, small ones too, whose large ones may lose what is around the object."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfcontrastive import augment
from tfcontrastive.config import InputError
from tfcontrastive.data import elements
from tfcontrastive.methods.configs.relic_v2 import ReLICV2Config
from tfcontrastive.methods.relic import ReLIC
from tfcontrastive.methods.view_pairs import large_views


class ReLICV2(ReLIC):
    """ReLIC with a target network, multi-crop and saliency masks.

    The loss of `ReLIC` with `use_target`, whose pairs are of each view with each large one's target, its own too:

        loss = mean over (view l, large view k) of CE(p_lk) + alpha * mean over large l != k of KL(sg[p_kl], p_lk)

    Where the data bring a `mask` in [0, 1] of each image, 1 on the object, a large view is multiplied by its crop of it
    with probability `mask_probability`, after its colours changed; target and online network see the same. `{"image": ...,
    "mask": [B, H, W] or [B, H, W, 1]}` for images of which views are made here, `{"views": ..., "mask": (m1, m2, ...)}`,
    one of each large view, for views that are made.

    Source: Tomasev et al., arXiv 2201.05119, and ReLIC's, whose choices hold here. The paper learns its masks without
    labels by a method that is not published whole; where masks come from is the user's, and that what is not the object
    becomes black, and how often, this project's choice. Differs: negatives are all other images, the paper draws some.
    """

    Config = ReLICV2Config
    own_pairs = True

    def make_views(self, data: Any, step: tf.Tensor | None = None) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """As `ContrastiveModel`; the masks of the data are used up here."""
        step = self.optimizer.iterations if step is None else step
        views, batch = super().make_views(data, step)
        mask = batch.pop("mask", None)
        if mask is None or not self.config.mask_probability:
            return views, batch
        large = large_views(views)
        seeds = self.view_seeds(tf.shape(views[0])[0], step)
        masks = list(mask) if isinstance(mask, (tuple, list)) else self._cropped(mask, elements.unpack(data), seeds)
        if len(masks) < large:
            raise InputError(f"`mask` must be a tuple of one for each large view, {large}. Received: {len(masks)}.")
        for i in range(large):
            shown = _with_channel(masks[i], views[i])
            masked = augment.bernoulli(seeds[:, i], "mask", self.config.mask_probability)
            shown = tf.cast(shown, views[i].dtype)
            views[i] = tf.where(masked[:, None, None, None], shown * views[i], views[i])
        return views, batch

    def _cropped(self, mask: tf.Tensor, element: elements.Element, seeds: tf.Tensor) -> list[tf.Tensor]:
        """The masks of the views that were made of whole images: the same crops and flips."""
        if element.images is None:
            raise InputError(
                "`mask` must be a tuple, a mask for each view, where views come ready. Received: one tensor."
            )
        return self.crop_images(tf.cast(_with_channel(mask, element.images), tf.float32), seeds)


def _with_channel(mask: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Masks `[B, H, W]` or `[B, H, W, 1]` of images, as `[B, H, W, 1]`."""
    mask = tf.convert_to_tensor(mask)
    mask = mask[..., None] if mask.shape.rank == 3 else mask
    if not mask.shape.is_compatible_with([*images.shape[:3], 1]):
        raise InputError(
            f"`mask` must have the shape {(*images.shape[:3],)} of its images, and one channel at most. "
            f"Received: {tuple(mask.shape)}."
        )
    return mask
