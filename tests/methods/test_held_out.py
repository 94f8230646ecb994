"""`evaluate`, and `fit` with held-out images: the method's loss and the probe, and nothing of the training moves."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive
from tests.methods.cases import BATCH, CASES, SIZE, batches, make_model, tiny_encoder, weights
from tfcontrastive import losses
from tfcontrastive.config import InputError

IMAGES = np.random.default_rng(5).random((BATCH, SIZE, SIZE, 3), np.float32)
LABELS = np.arange(BATCH) % 3


def metrics_of(model):
    return {"loss", "probe_loss", "probe_accuracy", *model.metric_names}


def state(model):
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    parts = [*model.variables, *model.optimizer.variables]
    return [np.array(variable) for variable in parts if id(variable) not in metrics]


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("case", CASES)
def test_measuring_moves_nothing(case):
    model = make_model(case)
    model.fit(batches(1, case=case), verbose=0)
    before, held_out = state(model), batches(3, first=1, case=case)
    found = model.evaluate(held_out, verbose=0, return_dict=True)
    assert set(found) == metrics_of(model)
    assert np.isfinite(list(found.values())).all()
    assert model.evaluate(held_out, verbose=0, return_dict=True) == found
    for one, two in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_loss_is_that_of_the_views_in_inference_mode():
    model = make_model("simclr")
    model.fit(batches(1), verbose=0)  # moving statistics are no more those of a batch
    one, two = IMAGES, np.clip(IMAGES + 0.1, 0, 1)
    z1, z2 = (model.projection_head(model.encoder(views, training=False), training=False) for views in (one, two))
    expected = losses.nt_xent(z1, z2, temperature=model.config.temperature)
    found = model.test_on_batch((one, two), LABELS, return_dict=True)
    np.testing.assert_allclose(found["loss"], expected, rtol=1e-5)
    logits = model.probe(model.encoder(np.concatenate([one, two]), training=False)).numpy()
    right = logits.argmax(axis=1) == np.tile(LABELS, 2)
    np.testing.assert_allclose(found["probe_accuracy"], right.mean(), rtol=1e-6)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("case", ["simclr_v2", "moco", "byol"])
@pytest.mark.parametrize("form", ["arrays", "data_set"])
def test_a_run_that_measures_learns_what_one_does_that_does_not(case, form):
    held_out = (IMAGES, LABELS) if form == "arrays" else tf.data.Dataset.from_tensors((IMAGES, LABELS))
    runs = []
    for validation in ({}, {"validation_data": held_out}):
        model = make_model(case)
        history = model.fit(batches(3), epochs=2, shuffle=False, verbose=0, **validation).history
        runs.append((history, weights(model)))
    (without, plain), (with_it, measured) = runs
    for name, value in plain.items():
        np.testing.assert_array_equal(measured[name], value, err_msg=name)
    assert {name for name in with_it if name.startswith("val_")} == {f"val_{name}" for name in without}
    assert {name: value for name, value in with_it.items() if not name.startswith("val_")} == without


def test_early_stopping_and_a_validation_split_work():
    images, labels = np.concatenate([IMAGES, IMAGES]), np.concatenate([LABELS, LABELS])
    model = make_model("simclr", learning_rate=1e-6)
    stop = keras.callbacks.EarlyStopping("val_loss", patience=0, min_delta=1.0)
    history = model.fit(
        images, labels, batch_size=8, epochs=5, validation_split=0.5, verbose=0, callbacks=[stop]
    ).history
    assert len(history["val_loss"]) == 2


def test_views_of_whole_images_are_the_same_at_each_measurement_and_differ_between_batches_and_from_training():
    seen = []

    class Seen(tfcontrastive.SimCLR):
        def views_loss(self, views, training):
            seen.append([view.numpy() for view in views])
            return super().views_loss(views, training)

    model = Seen(tiny_encoder())
    model.compile("sgd", run_eagerly=True)
    same = np.concatenate([IMAGES[:4], IMAGES[:4]])
    for _ in range(2):
        model.evaluate(same, batch_size=4, verbose=0)
    model.fit(same[:4], batch_size=4, shuffle=False, verbose=0)
    first, second, again, _, training = seen
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.subtract(first, second)).max() > 1e-3
    assert np.abs(np.subtract(first, training)).max() > 1e-3


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("case", ["simclr", "moco", "supcon"])
def test_two_replicas_measure_what_one_does(case, two_replicas):
    with two_replicas.scope():
        together = make_model(case)
    before = state(together)
    found = together.evaluate(IMAGES, LABELS, batch_size=8, verbose=0, return_dict=True)
    expected = make_model(case).evaluate(IMAGES, LABELS, batch_size=8, verbose=0, return_dict=True)
    assert set(found) == set(expected)
    for name in ("loss", "probe_loss", "probe_accuracy"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, err_msg=name)
    for one, two in zip(before, state(together), strict=True):
        np.testing.assert_array_equal(one, two)
    history = together.fit(batches(1), validation_data=(IMAGES, LABELS), validation_batch_size=8, verbose=0).history
    assert np.isfinite(history["val_loss"]).all()


@pytest.mark.parametrize("how", ["evaluate", "validation_data", "validation_split"])
def test_held_out_batches_that_replicas_would_not_share_evenly_are_refused(how, two_replicas):
    with two_replicas.scope():
        model = make_model("simclr")
    odd = (IMAGES[:11], LABELS[:11])
    calls = {
        "evaluate": lambda: model.evaluate(*odd, batch_size=4, verbose=0),
        "validation_data": lambda: model.fit(batches(1), validation_data=odd, validation_batch_size=4, verbose=0),
        "validation_split": lambda: model.fit(IMAGES, LABELS, batch_size=4, validation_split=0.3, verbose=0),
    }
    with pytest.raises(InputError, match="that 2 replicas share evenly"):
        calls[how]()
