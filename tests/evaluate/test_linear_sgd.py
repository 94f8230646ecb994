import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.evaluate import RECIPES, Linear, SGDRecipe, linear_sgd, linear_sgd_on_images
from tfcontrastive.evaluate.linear_sgd import _train

RNG = np.random.default_rng(0)


def clusters(count):
    labels = np.arange(count) % 3
    return (2 * np.eye(3)[labels] + 0.1 * RNG.normal(size=(count, 3))).astype(np.float32), labels


def slow_sgd(features, labels, recipe, steps):
    """Gradient descent on the whole set by the recipe's constants, written out."""
    kernel, bias = np.zeros([features.shape[1], 3]), np.zeros(3)
    velocity = [np.zeros_like(kernel), np.zeros_like(bias)]
    for step in range(steps):
        peak = recipe.learning_rate * len(features) / 256
        if recipe.milestones is None:
            rate = peak * (1 + np.cos(np.pi * step / steps)) / 2
        else:  # Keras' boundaries are inclusive
            rate = peak * 0.1 ** sum(step > round(steps * part) for part in recipe.milestones)
        p = np.exp(features @ kernel + bias)
        p = p / p.sum(1, keepdims=True) - np.eye(3)[labels]
        gradients = [features.T @ p / len(features), p.mean(0)]
        for number, (weights, gradient) in enumerate(zip((kernel, bias), gradients, strict=True)):
            velocity[number] = recipe.momentum * velocity[number] - rate * gradient
            weights += recipe.momentum * velocity[number] - rate * gradient if recipe.nesterov else velocity[number]
    return features @ kernel + bias


def whole_batches(features, labels):
    return tf.data.Dataset.from_tensors((features, labels.astype(np.int32))).repeat()


@pytest.mark.parametrize("name", ["simclr", "moco"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_the_steps_are_those_of_a_slow_loop(name, replicas, two_replicas):
    features, labels = clusters(12)
    recipe = dataclasses.replace(RECIPES[name], learning_rate=5.0, initial_deviation=0.0)
    with two_replicas.scope() if replicas == 2 else tf.distribute.get_strategy().scope():
        logits = _train(lambda x: x, whole_batches(features, labels), 3, 3, recipe, 12, 10, 0)
    np.testing.assert_allclose(logits(features), slow_sgd(features, labels, recipe, 10), rtol=2e-4, atol=2e-5)


def test_the_published_constants():
    assert RECIPES["simclr"] == SGDRecipe(0.1, 4096, 90, nesterov=True, milestones=None)
    assert RECIPES["moco"] == SGDRecipe(30.0, 256, 100, nesterov=False, milestones=(0.6, 0.8))


def test_a_protocol_states_its_constants_and_what_replaces_them():
    settings = Linear(linear_optimizer="moco", linear_epochs=3).settings
    assert (settings["learning_rate"], settings["epochs"], settings["batch_size"]) == (30.0, 3, 256)
    assert "max_iter" not in settings
    assert "epochs" not in Linear().settings


def test_unlabelled_rows_do_not_count():
    features, labels = clusters(12)
    labels = np.where(np.arange(12) < 6, labels, -1)
    recipe = dataclasses.replace(RECIPES["simclr"], learning_rate=5.0, initial_deviation=0.0)
    trained = _train(lambda x: x, whole_batches(features, labels), 3, 3, recipe, 12, 5, 0)
    alone = _train(lambda x: x, whole_batches(features[:6], labels[:6]), 3, 3, recipe, 12, 5, 0)
    np.testing.assert_allclose(trained(features), alone(features), rtol=1e-4, atol=1e-5)


def test_separable_features_are_separated():
    train, test = clusters(60), clusters(30)
    result = linear_sgd(*train, *test, num_classes=3, recipe=dataclasses.replace(RECIPES["moco"], epochs=20))
    assert result["linear_top1"] == 1


def test_a_loss_that_diverges_is_refused():
    features, labels = clusters(12)
    recipe = SGDRecipe(1e38, 12, 4, nesterov=True, milestones=None)
    with pytest.raises(InputError, match="smaller `linear_learning_rate`"):
        linear_sgd(1e9 * features, labels, features, labels, num_classes=3, recipe=recipe)


@pytest.mark.parametrize(("last", "value", "message"), [(-1, 1, "-1 means unlabelled"), (1, np.nan, "must be finite")])
def test_on_images_the_test_is_checked_first(last, value, message):
    pixels, labels = np.zeros([4, 8, 8, 1], np.uint8), np.array([0, 1, 0, 1])
    source = data.arrays.ArraySource({"train": (pixels, labels), "test": (pixels, labels)})
    source._labels["train"] = source._labels["test"] = np.array([0, 1, 0, last], np.int32)  # as of records

    def encoder(images, training):
        return value + images[:, 0, 0]

    with pytest.raises(InputError, match=message):
        linear_sgd_on_images(encoder, source, recipe=RECIPES["simclr"])


def test_on_images_the_encoder_stays_as_it_was():
    images = keras.Input((8, 8, 1))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 3)(images))
    encoder = keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))
    before = encoder.get_weights()
    labels = np.arange(32) % 2
    pixels = np.repeat(np.repeat((200 * labels).astype(np.uint8)[:, None, None], 8, 1), 8, 2)
    source = data.arrays.ArraySource({"train": (pixels, labels), "test": (pixels[:10], labels[:10])})
    recipe = SGDRecipe(10.0, 16, 10, nesterov=True, milestones=None)
    assert linear_sgd_on_images(encoder, source, recipe=recipe)["linear_top1"] == 1
    for old, new in zip(before, encoder.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert encoder.trainable
