"""Two towers as one encoder: which sees what, and that it is made again at other sizes."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.methods.cases import tiny_encoder
from tfcontrastive.augment.lab import rgb_to_lab
from tfcontrastive.config import InputError
from tfcontrastive.encoders import ChannelTowers
from tfcontrastive.encoders.rebuild import rebuild

IMAGES = np.random.default_rng(0).random((4, 8, 8, 3), np.float32)


def pooled(channels=3, size=None):
    images = keras.Input((size, size, channels))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(images))


def test_each_tower_sees_its_own_half_of_lab_between_minus_one_and_one():
    features = ChannelTowers(pooled(), pooled())(IMAGES).numpy()
    lab = rgb_to_lab(IMAGES).numpy().mean(axis=(1, 2))
    expected = (lab - [50, 6.025, -6.69]) / [50, 92.208, 101.17]
    np.testing.assert_allclose(features[:, [0, 4, 5]], expected, atol=1e-5)
    assert not features[:, [1, 2, 3]].any()
    corners = np.stack(np.meshgrid(*[[0.0, 1.0]] * 3), axis=-1).reshape(8, 1, 1, 3)
    assert np.abs(ChannelTowers(pooled(), pooled())(corners)).max() <= 1.001


def test_groups_are_any_channels():
    images = np.random.default_rng(0).random((2, 4, 4, 4), np.float32)
    features = ChannelTowers(pooled(4), pooled(4), ((0, 3), (1,)))(images).numpy()
    means = images.mean(axis=(1, 2))
    np.testing.assert_allclose(features[:, [0, 3, 5]], means[:, [0, 3, 1]], atol=1e-6)
    assert not features[:, [1, 2, 4, 6, 7]].any()


def test_it_is_saved_and_rebuilt_with_its_weights(tmp_path):
    towers = ChannelTowers(tiny_encoder(), tiny_encoder(), ((0,), (2,)), name="both")
    towers.save(tmp_path / "towers.keras")
    loaded = keras.saving.load_model(tmp_path / "towers.keras")
    np.testing.assert_array_equal(loaded(IMAGES), towers(IMAGES))
    assert (loaded.groups, loaded.name) == ([[0], [2]], "both")
    larger = rebuild(towers, image_size=12)
    assert larger.input_shape == (None, 12, 12, 3)
    for old, new in zip(towers.variables, larger.variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("settings", "channels", "message"),
    [
        (
            {},
            1,
            "must be two groups of channels, such as 0/1, of images that are not RGB. Received: lab with images of 1",
        ),
        ({"channel_groups": "0/3"}, 3, "must hold channels in 0..2, those of the images. Received: 0/3."),
        ({"channel_groups": "0,1/1"}, 3, "must be lab, or two groups of channel numbers that share none"),
        ({"channel_groups": "ycc"}, 3, "must be lab, or two groups of channel numbers that share none"),
        ({"channel_groups": "0/1/2"}, 3, "must be lab, or two groups of channel numbers that share none"),
    ],
)
def test_channels_that_cannot_be_split_so_are_refused_in_one_line(settings, channels, message):
    with pytest.raises(InputError, match=f"^`channel_groups` {re.escape(message)}") as error:
        tfcontrastive.build("cmc", pooled(channels), bank_size=4, num_negatives=2, **settings)
    assert "\n" not in str(error.value)


def test_banks_take_the_mean_over_views_of_their_own_towers():
    model = tfcontrastive.build(
        "cmc", pooled(2), bank_size=5, num_negatives=2, channel_groups="0/1", bank_momentum=0.0, proj_out_dim=3
    )
    model.compile(keras.optimizers.SGD(0.1))
    views = [tf.random.stateless_uniform([2, 4, 4, 2], [seed, 0]) for seed in range(3)]
    model.views_loss(views, training=True, index=tf.constant([4, 1]))
    means = np.mean(views, axis=(2, 3))  # view, image, channel
    for place, (head, bank) in enumerate(
        [(model.first_head, model.first_bank), (model.second_head, model.second_bank)]
    ):
        seen = np.zeros_like(means)
        seen[..., place] = means[..., place]
        new = head(seen.reshape(-1, 2)).numpy().reshape(3, 2, 3).mean(axis=0)
        np.testing.assert_allclose(
            np.array(bank.rows)[[4, 1]], new / np.linalg.norm(new, axis=1, keepdims=True), atol=1e-5
        )
