"""An update that is not finite moves no weight, and is seen in the loss; metrics of several replicas are of all rows."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import SIZE, batches, make_model, tiny_encoder
from tfcontrastive import distribute, optimizers
from tfcontrastive.models.classifier import Classifier
from tfcontrastive.models.objectives import CrossEntropy

WAYS = {
    "plain": ("simclr", {}),
    "xla": ("simclr", {"jit_compile": True}),
    "micro batches": ("simclr", {"micro_batch_size": 4}),
    "accumulated": ("byol", {"gradient_accumulation_steps": 2}),
    "adamw": ("simclr", {"optimizer": "adamw"}),
}


def encoder_that_divides_by_the_light():
    """Features of a black image are no numbers; nothing is wrong with the image."""
    images = keras.Input((SIZE, SIZE, 3))
    light = keras.ops.sum(images, axis=(1, 2, 3), keepdims=True)
    return keras.Model(images, tiny_encoder()(images * (light / light)))


def with_a_bad_row(batch):
    """The batch, whose fourth image is black in its first view."""
    first, *others = batch["views"]
    bad = tf.where(tf.reshape(tf.range(len(first)) == 3, [-1, 1, 1, 1]), tf.zeros([], first.dtype), first)
    return {**batch, "views": (bad, *others)}


def learned(model):
    return [keras.ops.convert_to_numpy(v) for v in [*model.trainable_variables, *model.optimizer.variables]]


def assert_only_finite_updates(model):
    assert np.isfinite(model.fit(batches(2), verbose=0, shuffle=False).history["loss"]).all()
    before = learned(model)
    history = model.fit(batches(1, first=2).map(with_a_bad_row), verbose=0, shuffle=False).history
    assert np.isnan(history["loss"]).all()
    assert distribute.step_of(model) == 2  # what was not applied is no step
    for old, new in zip(before, learned(model), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("way", WAYS)
def test_an_update_that_is_not_finite_is_not_applied(way):
    case, options = WAYS[way]
    assert_only_finite_updates(make_model(case, encoder=encoder_that_divides_by_the_light(), **options))


@pytest.mark.usefixtures("eagerly")
def test_nor_on_two_replicas_one_of_which_met_it(two_replicas):
    with two_replicas.scope():
        model = make_model("moco", encoder=encoder_that_divides_by_the_light())
    assert_only_finite_updates(model)


def test_nor_by_a_classifier():
    model = Classifier(encoder_that_divides_by_the_light(), 3, CrossEntropy())
    model.compile(optimizer=optimizers.build("momentum", 0.1, momentum=0.9))
    assert_only_finite_updates(model)


def test_a_finite_loss_whose_gradient_is_not_finite_counts_too():
    model = make_model("simclr")
    views_loss = model.views_loss

    def steep(views, training):  # at 0, a root is finite and its slope is not
        loss, metrics, features = views_loss(views, training)
        return loss + tf.sqrt(0.0 * tf.reduce_sum(features)), metrics, features

    model.views_loss = steep
    before = learned(model)
    history = model.fit(batches(1), verbose=0, shuffle=False).history
    assert np.isnan(history["loss"]).all()
    for old, new in zip(before, learned(model), strict=True):
        np.testing.assert_array_equal(old, new)


def test_a_loss_scale_skips_its_overflows_as_steps_of_the_run():
    model = make_model("simclr")
    model.compile(optimizer=optimizers.LossScale(optimizers.build("momentum", 0.1, momentum=0.9)), jit_compile=False)
    model.optimizer.dynamic_scale.assign(1e38)
    before = [np.asarray(v) for v in model.trainable_variables]
    history = model.fit(batches(1), verbose=0, shuffle=False).history
    assert np.isfinite(history["loss"]).all()
    assert distribute.step_of(model) == 1
    for old, new in zip(before, model.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("case", ["simclr", "barlow_twins"])
def test_spread_is_measured_over_the_rows_of_all_replicas(case, two_replicas):
    with two_replicas.scope():
        together = make_model(case)
    found, expected = (
        model.fit(batches(1), verbose=0, shuffle=False).history for model in (together, make_model(case))
    )
    for name in ("alignment", "uniformity", "embedding_std"):
        np.testing.assert_allclose(np.mean(found[name]), np.mean(expected[name]), rtol=1e-5, err_msg=name)
