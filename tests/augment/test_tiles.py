"""Tiles of a puzzle against slices of the image."""

import re

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import augment
from tfcontrastive.augment.tiles import random_tiles, standardize_tiles, tile_side
from tfcontrastive.config import InputError

SEEDS = augment.row_seeds(3, tf.constant(5), tf.range(64), num_views=1)[:, 0]


@pytest.mark.parametrize(("size", "side"), [(17, 3), (16, None), (12, 1)])
def test_tiles_are_slices_of_their_cells_at_places_of_their_own(size, side):
    """Every pixel has a number of its own, which tells where a tile was cut."""
    numbers = np.arange(64 * size * size * 2).reshape(64, size, size, 2)
    found = random_tiles(tf.constant(numbers, tf.float32), SEEDS, side).numpy()
    cell, start = size // 3, (size - size // 3 * 3) // 2
    side = side or tile_side(size)
    offsets = set()
    for image, tiles in zip(numbers, found, strict=True):
        for k, tile in enumerate(tiles):
            row, column = np.argwhere(image[:, :, 0] == tile[0, 0, 0])[0]
            np.testing.assert_array_equal(tile, image[row : row + side, column : column + side])
            offsets.add((row - start - cell * (k // 3), column - start - cell * (k % 3)))
    free = range(cell - side + 1)
    assert offsets == {(down, right) for down in free for right in free}


def test_a_tile_is_64_of_85_pixels_and_three_quarters_of_any_cell():
    assert [tile_side(side) for side in (255, 224, 32, 9, 3)] == [64, 56, 8, 3, 1]


def test_standardized_tiles_are_those_of_tensorflow_at_the_scale_of_images():
    tiles = np.random.RandomState(0).rand(2, 9, 4, 4, 3).astype(np.float32)
    tiles[0, 0] = 0.3  # of one color
    expected = 0.5 + 0.25 * tf.image.per_image_standardization(tiles.reshape(18, 4, 4, 3))
    np.testing.assert_allclose(tf.reshape(standardize_tiles(tf.constant(tiles)), [18, 4, 4, 3]), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "side", "message"),
    [
        ((9, 12), None, "views must be square, of 3 pixels or more, to be cut into tiles. Received: 9x12 pixels."),
        ((2, 2), None, "views must be square, of 3 pixels or more, to be cut into tiles. Received: 2x2 pixels."),
        ((12, 12), 5, "`tile_size` must be at most 4, a third of views of 12 pixels. Received: tile_size=5."),
    ],
)
def test_what_cannot_be_cut_is_refused_in_one_line(shape, side, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        random_tiles(tf.zeros([64, *shape, 1]), SEEDS, side)
