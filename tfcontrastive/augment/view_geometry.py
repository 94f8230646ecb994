"""Which part of an image a view shows, and at what size."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from tfcontrastive.augment import ops


@dataclasses.dataclass(frozen=True)
class Geometry:
    """Which part of an image a view shows, as data. See `ops.sample_crop_boxes` for the distribution.

    Args:
        min_area, max_area: smallest and largest part of the image that a crop covers, in (0, 1].
        min_ratio, max_ratio: smallest and largest width / height of a crop, > 0.
        flip: probability of mirroring left to right, in [0, 1].
        size: height and width of the view, as a part of the run's image size, > 0; less than 1 for the small views of
            multi-crop methods.
        side: height and width in pixels, whatever the image size, >= 1; None: as `size` says.
    """

    min_area: float = 0.08
    max_area: float = 1.0
    min_ratio: float = 3 / 4
    max_ratio: float = 4 / 3
    flip: float = 0.5
    size: float = 1.0
    side: int | None = None

    def pixels(self, image_size: int) -> int:
        """Height and width of the view in pixels."""
        return self.side or max(1, round(self.size * image_size))


def random_view_geometry(
    images: tf.Tensor, seeds: tf.Tensor, geometry: Geometry, size: int | tuple[int, int]
) -> tf.Tensor:
    """Random crop, resize and flip as a policy's geometry says; see `ops.random_resized_crop`.

    Args:
        images: `[B, H, W, C]`, uint8 or float in [0, 1], static H, W and C.
        seeds: integers `[B, 2]`.
        geometry: of the policy.
        size: output height and width in pixels, or both as one number.

    Returns:
        float32 `[B, size, size, C]` in [0, 1].

    Examples:
        >>> images, seeds = tf.zeros([2, 32, 32, 3]), tf.constant([[0, 1], [0, 2]])
        >>> random_view_geometry(images, seeds, Geometry(), 24).shape
        TensorShape([2, 24, 24, 3])
    """
    return ops.random_resized_crop(
        images,
        seeds,
        size,
        scale=(geometry.min_area, geometry.max_area),
        ratio=(geometry.min_ratio, geometry.max_ratio),
        flip_probability=geometry.flip,
    )
