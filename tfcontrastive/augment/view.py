"""What is done to a crop to make it a view."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfcontrastive.augment import ops, random
from tfcontrastive.augment.checks import float_images, static_image_shape
from tfcontrastive.augment.rand_augment import RandAugment, rand_augment
from tfcontrastive.augment.view_geometry import Geometry

_SIGMA = (0.1, 2.0)  # pixels


@dataclasses.dataclass(frozen=True)
class View:
    """The photometric half of a view, as data: color jitter and gray, blur, solarization, RandAugment.

    Calling it on float images `[B, H, W, C]` in [0, 1] and seeds `[B, 2]` gives images of the same shape, in [0, 1].
    An image's result depends on its own seed row alone, not on the batch or replica it is in (with `color_ops="exact"`
    provided that a batch's rows share their first word, as those of `row_seeds` do: it draws the order of the ops).

    Args:
        jitter: ranges of brightness, contrast, saturation and hue; None or all 0: no jitter.
        jitter_probability, gray_probability, blur_probability, solarize_probability: of each op, in [0, 1].
        additive_brightness: brightness adds rather than multiplies.
        gray_first: gray before the jitter.
        color_ops: "fused" or "exact", see `ops.color_jitter`.
        image_size: the blur's kernel is a tenth of this many pixels; None: of the height of the images given.
        rand_augment: numbers and strength of RandAugment's ops, which come last; None: none.
        geometry: crop, flip and size of this view, where they are not the policy's; done by the input pipeline.

    Examples:
        >>> view = View(blur_probability=1.0)
        >>> view(tf.ones([2, 32, 32, 3]), tf.constant([[0, 1], [0, 2]])).shape
        TensorShape([2, 32, 32, 3])
    """

    jitter: ops.ColorRange | None = None
    jitter_probability: float = 0.8
    gray_probability: float = 0.0
    blur_probability: float = 0.0
    solarize_probability: float = 0.0
    additive_brightness: bool = False
    gray_first: bool = False
    color_ops: str = "fused"
    image_size: int | None = None
    rand_augment: RandAugment | None = None
    geometry: Geometry | None = None

    def __call__(self, images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        images = float_images(images)
        if self.gray_probability or (self.jitter and any(self.jitter)):
            images = ops.color_jitter(
                images,
                seeds,
                self.jitter or ops.ColorRange(0.0, 0.0, 0.0, 0.0),
                probability=self.jitter_probability,
                gray_probability=self.gray_probability,
                gray_first=self.gray_first,
                additive=self.additive_brightness,
                form=self.color_ops,
            )
        kernel_size = (self.image_size or static_image_shape(images)[0]) // 10
        if self.blur_probability and kernel_size > 1:  # one tap blurs nothing
            images = self._blur(images, seeds, kernel_size)
        if self.solarize_probability:
            images = ops.solarize(images, random.bernoulli(seeds, "solarize", self.solarize_probability))
        if self.rand_augment:
            images = rand_augment(images, seeds, self.rand_augment)
        return images

    def _blur(self, images: tf.Tensor, seeds: tf.Tensor, kernel_size: int) -> tf.Tensor:
        draws = random.uniform(seeds, "blur", 2)
        low, high = _SIGMA
        sigma = tf.where(draws[:, 0] < self.blur_probability, low + (high - low) * draws[:, 1], 0.0)
        return tf.clip_by_value(ops.gaussian_blur(images, sigma, kernel_size), 0.0, 1.0)
