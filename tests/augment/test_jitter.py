import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.augment import jitter, ops, uniform
from tfcontrastive.config import InputError

FULL = np.array([0.8, 0.8, 0.8, 0.2])


def seeds(count: int, first: int = 0) -> tf.Tensor:
    return tf.stack([tf.fill([count], first), tf.range(count)], axis=1)


@pytest.fixture(scope="module")
def smooth() -> tf.Tensor:
    """Images with the low frequencies and the mid tones of photographs."""
    coarse = 0.5 + 0.2 * tf.random.stateless_normal([128, 4, 4, 3], seed=[3, 4])
    return tf.clip_by_value(tf.image.resize(coarse, [16, 16], "bicubic"), 0.0, 1.0)


@pytest.mark.parametrize(("strength", "bound"), [(0.5, 0.05), (1.0, 0.08)])
def test_fused_form_is_near_the_exact_form_on_the_same_draws(smooth, strength, bound):
    fused, exact = (
        ops.color_jitter(smooth, seeds(128), strength * FULL, probability=1.0, gray_probability=0.2, form=form)
        for form in jitter.FORMS
    )
    unchanged = np.mean(np.abs(smooth - exact))
    difference = np.mean(np.abs(fused - exact))
    assert difference < bound
    assert difference < unchanged / 2


@pytest.mark.parametrize("additive", [False, True])
def test_forms_agree_where_nothing_is_clipped_and_only_brightness_and_contrast_move(additive):
    images = 0.4 + 0.2 * tf.random.stateless_uniform([8, 6, 6, 3], seed=[5, 6])
    limits = (0.3, 0.3, 0.0, 0.0)
    fused, exact = (ops.color_jitter(images, seeds(8), limits, additive=additive, form=form) for form in jitter.FORMS)
    np.testing.assert_allclose(fused, exact, atol=2e-6)


def test_fused_hue_turns_the_way_hsv_does():
    # Red turned towards yellow gains green and no blue; turned the other way it gains blue and no green.
    matrix = jitter._color_matrix(1.0, tf.constant([1.0, 1.0]), tf.constant([0.1, -0.1])).numpy()
    towards_yellow, towards_magenta = np.array([0.6, 0.3, 0.3]) @ matrix
    assert towards_yellow[1] > 0.3 > towards_yellow[2]
    assert towards_magenta[2] > 0.3 > towards_magenta[1]


def test_fused_matrix_keeps_grays_and_luma():
    matrix = jitter._color_matrix(1.0, tf.constant([0.3, 1.7]), tf.constant([0.1, -0.2])).numpy()
    luma = [0.299, 0.587, 0.114]
    for image in matrix:
        np.testing.assert_allclose([0.5, 0.5, 0.5] @ image, [0.5, 0.5, 0.5], atol=1e-3)
        np.testing.assert_allclose(image @ luma, luma, atol=1e-3)


def test_fused_matrix_without_change_is_the_identity():
    matrix = jitter._color_matrix(1.0, tf.constant([1.0]), tf.constant([0.0]))
    np.testing.assert_allclose(matrix[0], np.eye(3), atol=1e-6)


def test_fused_form_is_the_formula():
    images = tf.random.stateless_uniform([5, 4, 3, 3], seed=[7, 8])
    out = ops.color_jitter(images, seeds(5), FULL, probability=1.0, gray_probability=0.5)
    draws = jitter._draw(seeds(5), ops.ColorRange(*FULL), 1.0, 0.5, False)
    for i, image in enumerate(np.asarray(images)):
        factor = 0.0 if draws.gray[i] else draws.saturation[i]
        matrix = jitter._color_matrix(draws.brightness[i : i + 1], tf.reshape(factor, [1]), draws.hue[i : i + 1])[0]
        colored = image @ np.asarray(matrix)
        mean = colored.mean((0, 1))
        expected = np.clip(mean + draws.contrast[i] * (colored - mean), 0, 1)
        np.testing.assert_allclose(out[i], expected, atol=1e-5)


def test_exact_form_applies_the_ops_in_the_drawn_order_with_clips():
    images = tf.random.stateless_uniform([3, 4, 4, 3], seed=[9, 10])
    singles = (ops.brightness, ops.contrast, ops.saturation, ops.hue)
    orders = set()
    for first in range(4):
        rows = seeds(3, first)
        draws = jitter._draw(rows, ops.ColorRange(*FULL), 1.0, 0.0, False)
        order = np.argsort(uniform(tf.constant([[first, 0]]), "order", 4)[0])
        expected = images
        for i in order:
            expected = tf.clip_by_value(singles[i](expected, draws[1 + i]), 0, 1)
        out = ops.color_jitter(images, rows, FULL, probability=1.0, form="exact")
        np.testing.assert_allclose(out, expected, atol=1e-5)
        orders.add(tuple(order))
    assert len(orders) > 1


@pytest.mark.parametrize("form", jitter.FORMS)
def test_images_that_are_not_drawn_stay_as_they_are(form):
    images = tf.random.stateless_uniform([64, 4, 4, 3], seed=[11, 12])
    out = ops.color_jitter(images, seeds(64), FULL, probability=0.8, form=form)
    same = np.max(np.abs(out - images), axis=(1, 2, 3)) < 1e-6
    np.testing.assert_array_equal(same, uniform(seeds(64), "color", 6)[:, 0] >= 0.8)
    assert 3 < same.sum() < 25


@pytest.mark.parametrize("form", jitter.FORMS)
def test_gray_images_are_gray(form):
    images = tf.random.stateless_uniform([4, 4, 4, 3], seed=[13, 14])
    out = ops.color_jitter(images, seeds(4), FULL, gray_probability=1.0, form=form)
    np.testing.assert_allclose(out, np.repeat(out[..., :1], 3, -1), atol=1e-5)


def test_draws_cover_their_ranges():
    draws = jitter._draw(seeds(4000), ops.ColorRange(0.4, 0.8, 1.5, 0.2), 1.0, 0.0, False)
    limits = {"brightness": (0.6, 1.4), "contrast": (0.2, 1.8), "saturation": (0.0, 2.5), "hue": (-0.2, 0.2)}
    for name, (low, high) in limits.items():
        drawn = getattr(draws, name).numpy()
        assert low <= drawn.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < drawn.max() <= high


def test_draws_are_independent_of_each_other():
    always = jitter._draw(seeds(4000), ops.ColorRange(0.4, 0.8, 0.5, 0.2), 1.0, 0.5, False)
    sometimes = jitter._draw(seeds(4000), ops.ColorRange(0.4, 0.8, 0.5, 0.2), 0.5, 0.5, False)
    correlation = np.corrcoef([np.asarray(draw, float) for draw in (sometimes.applied, *always[1:])]) - np.eye(6)
    assert np.abs(correlation).max() < 5 / np.sqrt(4000)


@pytest.mark.parametrize("form", jitter.FORMS)
@pytest.mark.parametrize("channels", [1, 5])
def test_other_channels_keep_to_brightness_and_contrast_and_say_so_once(form, channels, caplog):
    jitter._say_skipped.cache_clear()
    images = 0.4 + 0.2 * tf.random.stateless_uniform([4, 6, 6, channels], seed=[15, 16])
    limits = ops.ColorRange(0.2, 0.2, 0.8, 0.2)
    with caplog.at_level("INFO", logger="absl"):
        for _ in range(2):
            out = ops.color_jitter(images, seeds(4), limits, probability=1.0, gray_probability=1.0, form=form)
    draws = jitter._draw(seeds(4), limits, 1.0, 0.0, False)
    expected = ops.contrast(ops.brightness(images, draws.brightness), draws.contrast)
    np.testing.assert_allclose(out, expected, atol=1e-5)
    count = {1: "1 channel", 5: "5 channels"}[channels]
    assert [record.getMessage() for record in caplog.records] == [
        f"The images have {count}: saturation, hue and grayscale, which need 3, are skipped."
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"form": "fast"}, "`form` must be one of exact, fused. Received: 'fast'."),
        ({"limits": (0.4, -0.1, 0.4, 0.1)}, "`limits` must be >= 0"),
        ({"limits": (0.4, 0.4, 0.4, 0.6)}, "its hue <= 0.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ops.color_jitter(tf.zeros([1, 4, 4, 3]), seeds(1), **{"limits": FULL, **arguments})
