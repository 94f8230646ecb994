"""Memory banks: what they hold, what they draw, and which are refused."""

import json
import pathlib
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.losses import oracles
from tests.methods.cases import tiny_encoder
from tfcontrastive.augment import Geometry, View
from tfcontrastive.config import AugmentConfig, InputError
from tfcontrastive.methods import METHODS
from tfcontrastive.methods.memory_bank import MemoryBank

VALUES = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "method_values.json").read_text())
Z0 = np.sin(np.arange(12)).reshape(4, 3)
ROWS = np.sin(np.arange(24) + 0.25).reshape(8, 3)
ROWS /= np.linalg.norm(ROWS, axis=1, keepdims=True)


@pytest.fixture
def bank():
    made = MemoryBank(8, 3, temperature=0.3, dtype="float64")
    made.rows.assign(ROWS)
    return made


@pytest.mark.parametrize(("method", "name"), [("pirl", "memory_after"), ("cmc", "memory_l_after")])
def test_entries_move_as_in_the_authors_code(bank, method, name):
    bank.remember(tf.range(4), tf.constant(Z0), momentum=0.5)
    np.testing.assert_allclose(bank.entries(), VALUES[method][name], rtol=1e-9)


def test_draws_are_the_same_on_any_number_of_replicas_and_new_in_each_step(bank, two_replicas):
    def draw(images, step):
        return bank.draw(5, images=images, views=2, seed=3, step=tf.constant(step))

    alone = draw(4, 0).numpy().reshape(2, 4, 5)
    assert np.unique(np.concatenate([draw(4, step) for step in range(4)])).tolist() == list(range(8))
    assert not np.array_equal(alone, draw(4, 1).numpy().reshape(2, 4, 5))
    parts = two_replicas.experimental_local_results(two_replicas.run(lambda: draw(2, 0)))
    found = np.concatenate([part.numpy().reshape(2, 2, 5) for part in parts], axis=1)
    np.testing.assert_array_equal(found, alone)


def test_the_constant_of_the_first_batch_is_kept(bank):
    noise = bank.draw(6, images=4, views=1, seed=0, step=tf.constant(0))
    first = bank.normalizer(tf.constant(Z0), noise, first=tf.constant(True), training=True)
    expected = np.log(8 * np.mean(np.exp(np.einsum("bd,bmd->bm", oracles.unit(Z0), ROWS[noise]) / 0.3)))
    np.testing.assert_allclose(first, expected, rtol=1e-9)
    later = bank.normalizer(tf.constant(-Z0), noise, first=tf.constant(False), training=True)
    np.testing.assert_array_equal(later, first)
    inputs = {"embeddings": Z0, "indices": [0, 1, 2, 3], "noise": noise.numpy()}
    found = bank.loss(tf.constant(Z0), tf.range(4), noise, later)
    slow = oracles.instance_nce(inputs, {"bank": ROWS}, temperature=0.3, log_normalizer=float(first))
    np.testing.assert_allclose(found, slow, rtol=1e-9)


WITH_BANKS = ["pirl", "cmc"]


@pytest.mark.parametrize("method", WITH_BANKS)
def test_a_bank_without_an_entry_for_each_image_is_refused(method):
    kind = METHODS[method]
    message = "^`bank_size` must hold every training image, 41. Received: bank_size=40.$"
    with pytest.raises(InputError, match=message):
        kind.check(kind.Config(bank_size=40), batch_size=8, replicas=1, num_examples=41)
    kind.check(kind.Config(bank_size=41), batch_size=8, replicas=1, num_examples=41)


@pytest.mark.parametrize("method", WITH_BANKS)
def test_nce_without_noise_is_refused(method):
    message = "`num_negatives` must be >= 1 with objective=nce. Received: num_negatives=0. Take --objective=info_nce"
    with pytest.raises(InputError, match=f"^{re.escape(message)}"):
        METHODS[method].Config(num_negatives=0)


def test_tiles_come_from_a_larger_crop_of_their_own():
    policy = METHODS["pirl"].make_policy(AugmentConfig(augmentation="moco_v1", keep_orientation=True))
    image, cut = policy.geometries
    assert (image.min_area, cut.min_area, cut.flip) == (0.2, 0.6, 0.0)
    assert policy.sides(224) == (224, 255)
    with pytest.raises(InputError, match=r"PIRL takes 2 views of an image, all of one size. Received: 3 views"):
        METHODS["pirl"].make_policy(AugmentConfig(num_views=3))


def test_infomins_third_view_is_cut_and_keeps_its_colours():
    config = METHODS["moco"].Config(jigsaw_weight=0.5)
    policy = METHODS["moco"].policy_of(AugmentConfig(augmentation="infomin"), config)
    assert policy.sides(224) == (224, 224, 255)
    assert policy.views[2] == View(geometry=Geometry(0.6, flip=0.5, size=255 / 224))
    assert METHODS["moco"].encoded_sides(config, (224, 224, 255)) == (224, *[64] * 9)
    model = METHODS["moco"](tiny_encoder(), config)
    model.compile(keras.optimizers.SGD(0.1))
    views = tuple(tf.zeros([2, 8, 8, 3]) for _ in range(2))
    for batch in ({"views": views}, {"views": views, "seeds": tf.zeros([2, 2, 2], tf.int32)}):
        with pytest.raises(InputError, match=r"MoCo takes 3 views of an image\. Received: 2"):
            model.make_views(batch)


def test_the_bank_takes_the_image_alone():
    model = tfcontrastive.build(
        "pirl", tiny_encoder(), bank_size=9, num_negatives=3, proj_out_dim=4, bank_momentum=0.25
    )
    model.compile(keras.optimizers.SGD(0.1))
    before, index = np.array(model.bank.rows), np.array([3, 0])
    views = [tf.random.stateless_uniform([2, 8, 8, 3], [seed, 0]) for seed in range(2)]
    _, _, features = model.views_loss(views, training=True, index=tf.constant(index))
    v = np.array(oracles.unit(model.projection_head(features).numpy()))
    before[index] = oracles.unit(0.25 * before[index] + 0.75 * v)
    np.testing.assert_allclose(model.bank.rows, before, rtol=1e-5, atol=1e-6)
