"""What every method must pass, whatever it is: one table, one list of promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import CASES, ONE_EACH, batches, fit, make_model, weights
from tfcontrastive.callbacks.checkpoints import checkpoint_of, restore
from tfcontrastive.methods import METHODS


def assert_same_weights(one, two, tolerance):
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_the_table_has_every_method():
    assert {method for method, _ in CASES.values()} == set(METHODS)


@pytest.mark.parametrize("case", CASES)
def test_two_replicas_learn_what_one_does(case, two_replicas):
    steps = 10
    alone = make_model(case)
    losses = fit(alone, batches(steps))
    with two_replicas.scope():
        together = make_model(case)
    np.testing.assert_allclose(fit(together, batches(steps)), losses, rtol=1e-5, atol=1e-5)
    assert_same_weights(weights(together), weights(alone), 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_resuming_from_a_checkpoint_changes_nothing(case, tmp_path):
    straight = make_model(case)
    fit(straight, batches(6))
    first = make_model(case)
    fit(first, batches(3))
    path = checkpoint_of(first).save(str(tmp_path / "step"))
    second = make_model(case, seed=2)
    restore(path, second)
    fit(second, batches(3, first=3))
    assert_same_weights(weights(second), weights(straight), 0)


@pytest.mark.parametrize("case", ONE_EACH)
def test_keras_saves_and_loads_it(case, tmp_path):
    model = make_model(case)
    fit(model, batches(2))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert_same_weights(weights(loaded), weights(model), 0)
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize("case", ONE_EACH)
def test_bfloat16_learns_as_float32_does(case):
    def losses():
        return fit(make_model(case, optimizer="lars", learning_rate=0.01), batches(20))

    full = losses()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = losses()
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.all(np.isfinite(half))
    # Their mean: a single step's loss, on 16 images, is more the batch's than the run's.
    np.testing.assert_allclose(np.mean(half), np.mean(full), rtol=0.02)


@pytest.mark.parametrize("case", ONE_EACH)
def test_the_whole_step_compiles_with_xla(case):
    plain = fit(make_model(case), batches(2))
    np.testing.assert_allclose(fit(make_model(case, jit_compile=True), batches(2)), plain, rtol=1e-4)


def test_the_probe_moves_nothing_but_itself():
    with_labels, without = make_model("simclr"), make_model("simclr")
    fit(with_labels, batches(2))
    fit(without, batches(2).map(lambda batch: {**batch, "label": -tf.ones_like(batch["label"])}))
    for one, two in zip(with_labels.encoder.variables, without.encoder.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    assert np.any(with_labels.probe.kernel != without.probe.kernel)


@pytest.mark.parametrize("case", ONE_EACH)
def test_the_loss_falls_and_every_metric_is_reported(case):
    model = make_model(case, optimizer="adam", learning_rate=0.01)
    losses = fit(model, batches(1).repeat(30))
    assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.05
    values = {name: float(tracker.result()) for name, tracker in model.trackers.items()}
    assert set(values) == {"loss", "probe_loss", "probe_accuracy", *model.metric_names}
    assert np.all(np.isfinite(list(values.values())))
