"""How methods that solve puzzles cut their views, and what the encoder makes of the tiles."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tfcontrastive import augment, distribute
from tfcontrastive.augment.tiles import random_tiles, standardize_tiles
from tfcontrastive.config import InputError
from tfcontrastive.methods.base import ContrastiveModel

CUT_SIZE = 255 / 224
"""Side of a view that is cut, over that of one that is not: 255 pixels, of which tiles have 64, beside 224."""


def puzzle_seeds(model: ContrastiveModel, views: Sequence[tf.Tensor]) -> tf.Tensor:
    """A seed `[V * B, 2]` for the puzzle of each image of V views: of (seed, step, row, view), on any number of replicas."""
    batch = tf.shape(views[0])[0]
    rows = distribute.replica_id() * batch + tf.range(batch)
    step = tf.cast(model.optimizer.iterations, tf.int32)
    seeds = augment.row_seeds(model.seed, step, rows, num_views=len(views))
    return tf.reshape(tf.transpose(seeds, [1, 0, 2]), [-1, 2])


def encode_tiles(
    model: ContrastiveModel,
    images: tf.Tensor,
    seeds: tf.Tensor,
    training: bool,
    *,
    side: int | None = None,
    standardize: bool = False,
) -> tf.Tensor:
    """Features `[B, 9, F]` of the tiles of images, row by row.

    An encoder of images of one size sees tiles resized to it, bilinearly.

    Args:
        model: its encoder sees the tiles.
        images: `[B, H, H, C]` in [0, 1].
        seeds: `[B, 2]`, as `puzzle_seeds` gives them.
        training: as of the encoder.
        side, standardize: of `random_tiles`, and whether `standardize_tiles` follows.

    Raises:
        InputError: views that cannot be cut so, or tiles that are too small for the encoder.
    """
    tiles = random_tiles(images, seeds, side)
    if standardize:
        tiles = standardize_tiles(tiles)
    count, size, _, channels = tiles.shape[1:]
    tiles = tf.reshape(tiles, [-1, size, size, channels])
    height, width = (length or size for length in model.encoder_shape.image[:2])
    if (height, width) != (size, size):
        tiles = tf.image.resize(tiles, [height, width])
    try:
        features = model.encode(model.encoder, tiles, training)
    except InputError:
        raise
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"`image_size` must give tiles that are large enough for the encoder. Received: tiles of {size} pixels, of "
            f"views of {images.shape[1]}: {reason}"
        ) from error
    return tf.reshape(features, [-1, count, model.num_features])
