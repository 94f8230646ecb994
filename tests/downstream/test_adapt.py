"""Instance classification against numpy, the anchor, and a network that stays what it was until it learns."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import write_images
from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.downstream.adapt import check_start, depths
from tfcontrastive.downstream.instances import Instances, InstancesConfig, Numbered
from tfcontrastive.pretrained.trained import Trained


def encoder_of(width=3):
    """A network whose batch norm would show whether it took the batch's own statistics."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(width),
            keras.layers.BatchNormalization(),
        ]
    )


@pytest.fixture(scope="module")
def model():
    made = Instances(encoder_of(), InstancesConfig(num_images=5, label_smoothing=0.3), anchor=2.0)
    made.compile("sgd")
    return made


VIEWS = [tf.constant(np.random.default_rng(view).random((2, 4, 4, 1)), tf.float32) for view in range(2)]


def test_the_loss_is_smoothed_cross_entropy_of_the_images_numbers(model):
    labels = np.array([3, 1])
    loss, metrics, features = model.views_loss(VIEWS, training=True, label=tf.constant(labels))
    kernel, bias = model.projection_head.get_weights()
    logits = features.numpy() @ kernel + bias
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    wanted = np.full((4, 5), 0.3 / 5)
    wanted[np.arange(4), [3, 1, 3, 1]] += 0.7
    assert float(loss) == pytest.approx(-(wanted * logs).sum(axis=1).mean(), rel=1e-5)
    assert float(metrics["moved"]) == pytest.approx(0, abs=1e-6)  # nothing has moved yet


def test_features_are_those_of_the_frozen_encoder_and_its_statistics_stay(model):
    before = [variable.numpy() for variable in model.encoder.non_trainable_variables]
    features = model.views_loss(VIEWS, training=True, label=tf.constant([0, 1])).features
    frozen = model.start(tf.concat(VIEWS, axis=0), training=False)
    np.testing.assert_allclose(features, frozen, rtol=1e-6)
    for variable, value in zip(model.encoder.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


def test_the_anchor_weighs_the_turn_of_the_features_and_never_moves(model):
    kernel = model.encoder.layers[1].kernel
    first, start = kernel.numpy(), model.start.get_weights()
    kernel.assign(-first)
    free = Instances(model.encoder, InstancesConfig(num_images=5, label_smoothing=0.3), anchor=0.0)
    free.projection_head.set_weights(model.projection_head.get_weights())
    held, loose = (one.views_loss(VIEWS, training=True, label=tf.constant([0, 1])) for one in (model, free))
    moved = float(held.metrics["moved"])
    assert moved > 0.1
    assert float(held.loss) - float(loose.loss) == pytest.approx(2 * moved, rel=1e-4)
    assert not {id(one) for one in model.start.variables} & {id(one) for one in model.trainable_variables}
    kernel.assign(first)
    for value, own in zip(model.start.get_weights(), start, strict=True):
        np.testing.assert_array_equal(value, own)


def test_weights_lie_between_nothing_and_one_from_the_images_on():
    encoder = encoder_of()
    found = depths(encoder)
    assert [found[id(variable)] for variable in encoder.trainable_variables] == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("held", [True, False], ids=["in memory", "as files"])
def test_labels_are_the_numbers_of_the_images_in_any_order(held, tmp_path):
    from tests.fitting.folders import write

    if held:
        source = data.load(write_images(tmp_path / "few.npz", count=12))
    else:
        source = data.load(f"folder:{write(tmp_path / 'few', 12)}", cache=False)
    some = data.Subset(source, {"train": ("train", np.arange(1, 12, 2))})
    numbered = Numbered(some)
    if held:
        images, numbers = numbered.arrays("train")
        np.testing.assert_array_equal(images, source.arrays("train")[0][1::2])
        assert numbers.tolist() == list(range(6))
        return
    names = [reference for reference, _ in some.references("train").as_numpy_iterator()]
    pairs = list(numbered.references("train", tf.constant([1, 2], tf.int64)).as_numpy_iterator())
    assert sorted(row for _, row in pairs) == list(range(6))
    assert [row for _, row in pairs] != list(range(6))
    assert all(names[row] == reference for reference, row in pairs)


def test_an_encoder_that_cannot_be_adapted_is_refused(tmp_path):
    source = data.load(write_images(tmp_path / "few.npz", count=8))
    with pytest.raises(InputError, match="images of 1 channels, as here"):
        check_start(Trained(encoder_of(), None, None, 4, 1, "here"), source)
    with pytest.raises(InputError, match="must tell its architecture"):
        check_start(Trained(lambda images, training: images, None, None, 4, 3, "there"), source)
