"""Tiles of an image, for jigsaw puzzles: one from each cell of a grid, with random gaps between them."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive.augment import random
from tfcontrastive.augment.checks import static_image_shape
from tfcontrastive.config import InputError

GRID = 3
"""Cells of a side; a puzzle has GRID * GRID tiles."""


def tile_side(image_side: int) -> int:
    """Height and width of the tiles of an image: three quarters of a cell's, 64 of 85 at 255 pixels.

    Examples:
        >>> tile_side(255), tile_side(32)
        (64, 8)
    """
    return -(-3 * (image_side // GRID) // 4)


def random_tiles(images: tf.Tensor, seeds: tf.Tensor, side: int | None = None) -> tf.Tensor:
    """A tile from each cell of a grid of 3 x 3, at a random place in its cell.

    Cells have a third of the image's side, rounded down, and lie in its middle. A tile's offsets are uniform in
    {0, ..., cell - side}, each drawn for itself: so edges do not tell which tiles are neighbours.

    Args:
        images: `[B, H, H, C]`, square, static H and C.
        seeds: integers `[B, 2]`.
        side: height and width of a tile in pixels; None: as `tile_side` says.

    Returns:
        `[B, 9, side, side, C]`, row by row.

    Raises:
        InputError: images that are not square or have less than 3 pixels a side, or tiles larger than a cell.

    Examples:
        >>> random_tiles(tf.zeros([2, 255, 255, 3]), tf.constant([[0, 1], [0, 2]])).shape
        TensorShape([2, 9, 64, 64, 3])

    Source: Noroozi and Favaro, arXiv 1603.09246, section 3.4: cells of 75 of 225 pixels, tiles of 64.
    """
    height, width, channels = static_image_shape(images)
    if height != width or height < GRID:
        raise InputError(
            f"views must be square, of {GRID} pixels or more, to be cut into tiles. Received: {height}x{width} pixels."
        )
    cell = height // GRID
    side = side or tile_side(height)
    if side > cell:
        raise InputError(
            f"`tile_size` must be at most {cell}, a third of views of {height} pixels. Received: tile_size={side}."
        )
    count, start = GRID * GRID, (height - GRID * cell) // 2
    draws = random.uniform(seeds, "tiles", 2 * count)
    offsets = tf.cast(tf.floor(draws * (cell - side + 1)), tf.int32) + start
    corners = tf.constant([[cell * (i // GRID), cell * (i % GRID)] for i in range(count)])
    top, left = tf.split(tf.reshape(offsets, [-1, count, 2]) + corners, 2, axis=2)
    rows, columns = top + tf.range(side), left + tf.range(side)
    places = rows[:, :, :, None] * width + columns[:, :, None, :]
    pixels = tf.reshape(images, [-1, height * width, channels])
    found = tf.gather(pixels, tf.reshape(places, [-1, count * side * side]), batch_dims=1)
    return tf.reshape(found, [-1, count, side, side, channels])


def standardize_tiles(tiles: tf.Tensor) -> tf.Tensor:
    """Each tile with mean 1/2 and standard deviation 1/4, whatever its own were: brightness and contrast tell no places.

    Args:
        tiles: float `[B, 9, S, S, C]`.

    Returns:
        the same shape; a standard deviation counts as no less than 1 / sqrt(numbers of the tile), as that of
        `tf.image.per_image_standardization`, whose scale has been changed to that of images in [0, 1].

    Examples:
        >>> tiles = standardize_tiles(tf.reshape([0.2, 0.4], [1, 1, 1, 2, 1]))
        >>> tiles.numpy().ravel().round(3)
        array([0.465, 0.535], dtype=float32)
    """
    mean, variance = tf.nn.moments(tiles, axes=[2, 3, 4], keepdims=True)
    size = tf.cast(tf.reduce_prod(tf.shape(tiles)[2:]), tiles.dtype)
    return 0.5 + 0.25 * (tiles - mean) / tf.maximum(tf.sqrt(variance), tf.math.rsqrt(size))
