"""The orders of a puzzle, against a slow construction and the values of VISSL's own; and which tiles an encoder sees."""

import itertools
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.methods.cases import tiny_encoder
from tfcontrastive.config import DataConfig, EncoderConfig, InputError, TrainConfig
from tfcontrastive.methods import Jigsaw, JigsawConfig
from tfcontrastive.methods.permutations import distant_permutations
from tfcontrastive.runs.builders import encoder_and_size

VALUES = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "method_values.json").read_text())["jigsaw"]


def distance(one, two):
    return sum(a != b for a, b in zip(one, two, strict=True))


def test_orders_are_those_of_a_slow_search():
    every, chosen = list(itertools.permutations(range(4))), [(0, 1, 2, 3)]
    while len(chosen) < len(every):
        left = [order for order in every if order not in chosen]
        chosen.append(max(left, key=lambda order: min(distance(order, one) for one in chosen)))
    for count in range(1, len(every) + 1):
        assert [tuple(row) for row in distant_permutations(count, 4)] == chosen[:count]


def test_orders_are_those_of_the_published_rule():
    found = distant_permutations(1000)
    np.testing.assert_array_equal(found[:10], VALUES["first10_max_min"])
    for count in (24, 64, 100, 1000):
        assert np.array_equal(distant_permutations(count), found[:count])
        distances = (found[:count, None] != found[None, :count]).sum(axis=-1)[np.triu_indices(count, 1)]
        np.testing.assert_allclose([distances.mean(), distances.min()], VALUES[f"hamming_max_min_{count}"])


def test_more_orders_than_there_are_are_refused():
    with pytest.raises(InputError, match=r"^`num_permutations` must be 1 to 24\. Received: num_permutations=25\.$"):
        distant_permutations(25, 4)


def spied(shape):
    """An encoder that notes the sizes of what it sees."""
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, images):
            seen.append(images.shape[1:3])
            return images

    images = keras.Input((*shape, 3))
    encoder = keras.Model(images, keras.layers.GlobalAveragePooling2D()(Spy()(images)))
    seen.clear()
    return encoder, seen


@pytest.mark.parametrize(("shape", "size"), [((None, None), (3, 3)), ((8, 8), (8, 8))])
def test_an_encoder_sees_tiles_or_where_it_takes_one_size_tiles_of_that_size(shape, size):
    encoder, seen = spied(shape)
    model = Jigsaw(encoder, JigsawConfig(num_permutations=2, hidden_dim=2))
    model.compile(keras.optimizers.SGD(0.1))
    model.views_loss([tf.ones([2, 12, 12, 3])], training=True)
    assert seen == [size]


def test_tiles_that_are_too_small_for_the_encoder_are_refused_in_one_line():
    images = keras.Input((None, None, 3))
    encoder = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 5)(images)))
    model = tfcontrastive.build("jigsaw", encoder, num_permutations=2, hidden_dim=2)
    model.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(InputError, match=r"`image_size` must give tiles .* Received: tiles of 3 pixels") as error:
        model.views_loss([tf.ones([2, 12, 12, 3])], training=True)
    assert "\n" not in str(error.value)


def test_the_tiles_that_an_encoder_sees_are_counted_and_fit_its_patches():
    config = TrainConfig(method="jigsaw", method_config=JigsawConfig(), encoder=EncoderConfig(encoder="vit_small"))
    policy = Jigsaw.make_policy(config.augmentation)
    assert policy.sides(224) == (255, 255)
    assert Jigsaw.encoded_sides(config.method_config, (255, 255)) == (64,) * 18
    assert encoder_and_size(config, policy)[1] is None
    message = (
        "`patch_size` must divide the height and width of images and their tiles, 192 and 55 pixels. Received: patch_"
    )
    with pytest.raises(InputError, match=f"^{message}"):
        encoder_and_size(config.changed(data=DataConfig(image_size=192)), policy)


def test_each_step_lays_its_own_orders():
    model = Jigsaw(tiny_encoder(), JigsawConfig(num_permutations=100, hidden_dim=2))
    model.compile(keras.optimizers.SGD(0.0))
    view = [tf.random.stateless_uniform([8, 8, 8, 3], [0, 1])]
    found = []
    for _ in range(2):
        found.append(float(model.views_loss(view, training=True).loss))
        model.optimizer.iterations.assign_add(1)
    assert found[0] != found[1]
