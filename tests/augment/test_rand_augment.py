"""Each op of RandAugment against Pillow's, which the published code calls; and how they are drawn."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from tfcontrastive import augment
from tfcontrastive.augment.equalize import equalize
from tfcontrastive.augment.rand_augment import COLORLESS, OPS, RandAugment, apply, rand_augment
from tfcontrastive.config import AugmentConfig

SIZE = 24
LEVEL, FACTOR = 0.83, 0.1 + 1.8 * 0.83
FILL = (124, 116, 104)


def picture(seed=0):
    """Of smooth colors, so that a difference of half a pixel between two interpolations is a small one."""
    small = np.random.default_rng(seed).integers(20, 220, (5, 5, 3), np.uint8)
    return Image.fromarray(small).resize((SIZE, SIZE), Image.Resampling.BICUBIC)


def moved(matrix):
    options = {"resample": Image.Resampling.BILINEAR, "fillcolor": FILL}
    return lambda image: image.transform(image.size, Image.Transform.AFFINE, matrix, **options)


def solarize_add(image):
    pixels = np.asarray(image).astype(int)
    return Image.fromarray(np.where(pixels < 128, np.minimum(pixels + int(110 * LEVEL), 255), pixels).astype(np.uint8))


PILLOW = {
    "auto_contrast": ImageOps.autocontrast,
    "equalize": ImageOps.equalize,
    "invert": ImageOps.invert,
    "rotate": lambda image: image.rotate(30 * LEVEL, resample=Image.Resampling.BILINEAR, fillcolor=FILL),
    "posterize": lambda image: ImageOps.posterize(image, int(4 * LEVEL)),
    "solarize": lambda image: ImageOps.solarize(image, int(256 * LEVEL)),
    "solarize_add": solarize_add,
    "color": lambda image: ImageEnhance.Color(image).enhance(FACTOR),
    "contrast": lambda image: ImageEnhance.Contrast(image).enhance(FACTOR),
    "brightness": lambda image: ImageEnhance.Brightness(image).enhance(FACTOR),
    "sharpness": lambda image: ImageEnhance.Sharpness(image).enhance(FACTOR),
    "shear_x": moved((1, 0.3 * LEVEL, 0, 0, 1, 0)),
    "shear_y": moved((1, 0, 0, 0.3 * LEVEL, 1, 0)),
    "translate_x": moved((1, 0, 0.45 * LEVEL * SIZE, 0, 1, 0)),
    "translate_y": moved((1, 0, 0, 0, 1, 0.45 * LEVEL * SIZE)),
    "identity": lambda image: image,
}


@pytest.fixture(scope="module")
def ours():
    """Every op on one picture, in one batch."""
    image = np.asarray(picture(), np.float32) / 255
    names = [*OPS, "identity"]
    chosen = {name: tf.constant([name == other for other in names]) for name in names}
    batch = np.repeat(image[None], len(names), axis=0)
    level, sign = tf.fill([len(names)], LEVEL), tf.ones([len(names)])
    return dict(zip(names, apply(batch, chosen, level, sign).numpy(), strict=True))


@pytest.mark.parametrize("name", PILLOW)
def test_an_op_is_pillows(name, ours):
    expected = np.asarray(PILLOW[name](picture()), np.float32)
    difference = np.abs(255 * ours[name] - expected)
    inside = difference[3:-3, 3:-3]  # Pillow decides by the pixel's middle where an image ends, here it fades out
    assert np.mean(inside) < 1
    geometric = name in ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
    assert np.quantile(difference, 0.9 if geometric else 1.0) <= 2


def test_equalize_is_pillows_to_the_level():
    dark = np.random.default_rng(1).gamma(2.0, 20.0, (SIZE, SIZE, 3)).clip(0, 255).astype(np.uint8)
    flat = np.full((SIZE, SIZE, 3), 77, np.uint8)
    batch = np.stack([dark, flat]).astype(np.float32) / 255
    expected = [np.asarray(ImageOps.equalize(Image.fromarray(image))) for image in (dark, flat)]
    np.testing.assert_array_equal(np.round(255 * equalize(tf.constant(batch))), expected)


def seeds(count):
    return augment.row_seeds(1, tf.constant(2), tf.range(count), num_views=1)[:, 0]


def test_an_image_goes_through_its_own_ops_whatever_is_beside_it():
    images, once = tf.random.stateless_uniform([40, 12, 12, 3], [0, 1]), RandAugment(layers=1)
    every = tf.function(rand_augment, jit_compile=True)(images, seeds(40), once).numpy()
    np.testing.assert_allclose(rand_augment(images[7:9], seeds(40)[7:9], once), every[7:9], atol=1e-5)
    unchanged = np.abs(every - images).max(axis=(1, 2, 3)) < 1e-6
    assert 14 <= unchanged.sum() <= 34  # a half draws nothing, and some ops change nothing at their highest level


def test_without_color_gray_images_stay_gray_and_hues_stay():
    gray = tf.repeat(tf.random.stateless_uniform([30, 12, 12, 1], [0, 1]), 3, axis=-1) * [1.0, 0.5, 0.5]
    views = rand_augment(gray, seeds(30), RandAugment(layers=1, probability=1.0, color=False)).numpy()[:, 4:8, 4:8]
    np.testing.assert_allclose(views[..., 1], views[..., 2], atol=0.06)  # the mean color that fills is not quite gray
    assert set(COLORLESS) - set(OPS) == {"identity"}


@pytest.mark.parametrize("channels", [1, 5])
def test_any_number_of_channels(channels):
    views = rand_augment(tf.random.stateless_uniform([8, 12, 12, channels], [0, 1]), seeds(8))
    assert views.shape == (8, 12, 12, channels)
    assert 0 <= np.min(views) <= np.max(views) <= 1


def test_the_policy_has_it_and_keeps_color_where_it_is_told_to():
    views = [
        augment.policy_from_config(AugmentConfig(augmentation="infomin", keep_color=keep)).views[1]
        for keep in (None, True)
    ]
    assert [view.rand_augment.color for view in views] == [True, False]
    images = tf.random.stateless_uniform([8, 12, 12, 3], [0, 1])
    plain = augment.View()(images, seeds(8))
    drawn = augment.View(rand_augment=views[0].rand_augment)(images, seeds(8))
    np.testing.assert_array_equal(drawn, rand_augment(plain, seeds(8)))
