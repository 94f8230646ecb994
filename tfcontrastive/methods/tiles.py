"""How methods that solve puzzles cut their views, and what the encoder makes of the tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from tfcontrastive import augment, distribute
from tfcontrastive.augment.tiles import GRID, random_tiles, standardize_tiles
from tfcontrastive.config import InputError
from tfcontrastive.encoders import MLP
from tfcontrastive.methods.base import ContrastiveModel

CUT_SIZE = 255 / 224
"""Side of a view that is cut, over that of one that is not: 255 pixels, of which tiles have 64, beside 224."""


TILES = GRID * GRID
LEAST_CUT_AREA = 0.6
"""Part of the image that a view to be cut covers, at least."""

Encode = Callable[[keras.Model, tf.Tensor, bool], tf.Tensor]


def cut_geometry(flip: float) -> augment.Geometry:
    """Crop and flip of a view that is cut."""
    return augment.Geometry(LEAST_CUT_AREA, flip=flip, size=CUT_SIZE)


def add_tile_heads(model: ContrastiveModel, widths: Sequence[int]) -> None:
    """Gives a model the heads of `embed_tiles`: `tile_head`, by layers of these widths, and `joint_head`."""
    plain = {"hidden_norm": False, **model.head_options}
    model.tile_head = model.add_head(MLP(tuple(widths), **plain, name="tile_head"))
    model.joint_head = model.add_head(MLP(tuple(widths[-1:]), **plain, name="joint_head"), TILES * widths[-1])


def embed_tiles(
    model: ContrastiveModel,
    images: tf.Tensor,
    seeds: tf.Tensor,
    training: bool,
    *,
    side: int | None,
    encode: Encode | None = None,
) -> tf.Tensor:
    """PIRL's g: the embedding `[B, D]` of an image's tiles in random order, by a vector for each and one layer on all nine.

    Args:
        model: with the heads of `add_tile_heads`.
        images, seeds, training, side, encode: as of `encode_tiles`.
    """
    features = encode_tiles(model, images, seeds, training, side=side, encode=encode)
    rows = model.tile_head(tf.reshape(features, [-1, model.num_features]), training=training)
    order = tf.argsort(augment.uniform(seeds, "order of tiles", TILES), axis=1)
    laid = tf.gather(tf.reshape(rows, [-1, TILES, rows.shape[-1]]), order, batch_dims=1)
    return model.joint_head(tf.reshape(laid, [-1, TILES * rows.shape[-1]]), training=training)


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
    encode: Encode | None = None,
) -> tf.Tensor:
    """Features `[B, 9, F]` of the tiles of images, row by row.

    An encoder of images of one size sees tiles resized to it, bilinearly.

    Args:
        model: its encoder sees the tiles.
        images: `[B, H, H, C]` in [0, 1].
        seeds: `[B, 2]`, as `puzzle_seeds` gives them.
        training: as of the encoder.
        side, standardize: of `random_tiles`, and whether `standardize_tiles` follows.
        encode: in place of the model's own `encode`.

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
        features = (encode or model.encode)(model.encoder, tiles, training)
    except InputError:
        raise
    except (ValueError, tf.errors.InvalidArgumentError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"`image_size` must give tiles that are large enough for the encoder. Received: tiles of {size} pixels, of "
            f"views of {images.shape[1]}: {reason}"
        ) from error
    return tf.reshape(features, [-1, count, model.num_features])
