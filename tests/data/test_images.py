import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import augment
from tfcontrastive.data.images import decode, decode_crops

SEEDS = tf.constant([[1, 2], [3, 4], [5, 6]])
GEOMETRY = augment.policy("simclr").geometry


@pytest.fixture(scope="module")
def picture() -> tf.Tensor:
    """A smooth picture, whose JPEG is close to it."""
    coarse = np.random.default_rng(0).uniform(0, 255, (4, 5, 3))
    return tf.cast(tf.clip_by_value(tf.image.resize(coarse, [90, 120], "bicubic"), 0, 255), tf.uint8)


def views_of_decoded(image, size):
    """The views that the batched path makes of the same pixels."""
    batch = tf.repeat(image[tf.newaxis], len(SEEDS), axis=0)
    return augment.random_view_geometry(batch, SEEDS, GEOMETRY, size)


@pytest.mark.parametrize("channels", [1, 3])
def test_crops_of_a_png_are_the_views_of_its_pixels(picture, channels):
    encoded = tf.io.encode_png(picture)
    views = decode_crops(encoded, SEEDS, channels=channels, geometries=[GEOMETRY] * 3, size=24)
    np.testing.assert_allclose(tf.stack(views), views_of_decoded(decode(encoded, channels), 24), atol=2e-5)


def test_crops_of_a_jpeg_are_the_views_of_its_pixels(picture):
    encoded = tf.io.encode_jpeg(picture, quality=95)
    views = decode_crops(encoded, SEEDS, channels=3, geometries=[GEOMETRY] * 3, size=24)
    # Colour is interpolated a little differently at the border of what is decoded.
    np.testing.assert_allclose(tf.stack(views), views_of_decoded(decode(encoded, 3), 24), atol=0.02)


def test_only_the_crops_of_a_jpeg_are_decoded(picture):
    """A file that is cut off after the rows that the crops need still gives them."""
    encoded = tf.io.encode_jpeg(picture, quality=95).numpy()
    seeds = next(seeds for seeds in (tf.constant([[0, i]]) for i in range(99)) if bottom(seeds) < 40)
    short = encoded[: int(len(encoded) * 0.9)]
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(short, 3)
    (view,) = decode_crops(short, seeds, channels=3, geometries=[GEOMETRY], size=24)
    (whole,) = decode_crops(encoded, seeds, channels=3, geometries=[GEOMETRY], size=24)
    np.testing.assert_array_equal(view, whole)


def bottom(seeds) -> int:
    """The last row of the picture that the crop needs."""
    (box,) = augment.ops.sample_crop_boxes(seeds, 90, 120).numpy()
    return box[0] + box[2]
