"""What every method must pass, whatever it is: one table, one list of promises.

A case trains once, on one replica; what is promised of it is then compared with that run.
"""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import CASES, ONE_EACH, batches, fit, make_model, weights
from tfcontrastive.methods import METHODS, ContrastiveModel
from tfcontrastive.models.checkpoint import checkpoint_of, restore

STEPS, MIDDLE = 10, 4  # a middle at which no queue is at its start


@dataclasses.dataclass(frozen=True)
class Run:
    """A model after STEPS steps on one replica, its losses and weights, and its checkpoints of the way."""

    model: ContrastiveModel
    losses: list[float]
    weights: dict[str, np.ndarray]
    start: str
    middle: str


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of a case, made once."""
    runs: dict[str, Run] = {}

    def run(case):
        if case not in runs:
            directory = tmp_path_factory.mktemp(case)
            model = make_model(case)
            start = checkpoint_of(model).save(str(directory / "start"))
            losses = fit(model, batches(MIDDLE, case=case))
            middle = checkpoint_of(model).save(str(directory / "middle"))
            losses += fit(model, batches(STEPS - MIDDLE, first=MIDDLE, case=case))
            runs[case] = Run(model, losses, weights(model), start, middle)
        return runs[case]

    return run


def assert_same_weights(one, two, tolerance):
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(value, two[name], rtol=tolerance, atol=tolerance, err_msg=name)


def test_the_table_has_every_method():
    assert {method for method, _ in CASES.values()} == set(METHODS)


@pytest.mark.parametrize("case", CASES)
def test_two_replicas_learn_what_one_does(case, alone, two_replicas):
    with two_replicas.scope():
        together = make_model(case)
    np.testing.assert_allclose(fit(together, batches(STEPS, case=case)), alone(case).losses, rtol=1e-5, atol=1e-5)
    assert_same_weights(weights(together), alone(case).weights, 1e-5)


@pytest.mark.parametrize("case", CASES)
def test_resuming_from_a_checkpoint_changes_nothing(case, alone):
    resumed = make_model(case, seed=2)
    restore(alone(case).middle, resumed)
    losses = fit(resumed, batches(STEPS - MIDDLE, first=MIDDLE, case=case))
    assert losses == alone(case).losses[MIDDLE:]
    assert_same_weights(weights(resumed), alone(case).weights, 0)


@pytest.mark.parametrize("case", ONE_EACH)
def test_keras_saves_and_loads_it(case, alone, tmp_path):
    model = alone(case).model
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    assert_same_weights(weights(loaded), weights(model), 0)
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_array_equal(loaded(images), model(images))


@pytest.mark.parametrize("case", ONE_EACH)
def test_bfloat16_learns_as_float32_does(case, alone):
    full = alone(case).model
    restore(alone(case).start, full)
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        half = make_model(case)
    finally:
        keras.config.set_dtype_policy("float32")
    losses = []
    for model in (full, half):
        model.optimizer.learning_rate = 0.01
        losses.append(fit(model, batches(10)))
    assert np.all(np.isfinite(losses))
    # Their mean: a single step's loss, on 16 images, is more the batch's than the run's. Ten steps: after more of them
    # runs that differ by rounding have parted for reasons of their own.
    near_zero = 0.01 if case == "simsiam" else 0.0  # a mean cosine
    np.testing.assert_allclose(np.mean(losses[1]), np.mean(losses[0]), rtol=0.01, atol=near_zero)


@pytest.mark.parametrize("case", ONE_EACH)
def test_the_whole_step_compiles_with_xla(case, alone):
    compiled = fit(make_model(case, jit_compile=True), batches(2))  # which fails on an op of the host
    np.testing.assert_allclose(compiled, alone(case).losses[:2], rtol=1e-4)


def test_the_probe_moves_nothing_but_itself(alone):
    model, states = alone("simclr").model, []
    for labels in (True, False):
        restore(alone("simclr").start, model)
        data = batches(2) if labels else batches(2).map(lambda batch: {**batch, "label": -tf.ones_like(batch["label"])})
        fit(model, data)
        states.append(({v.path: np.array(v) for v in model.encoder.variables}, np.array(model.probe.kernel)))
    (with_labels, probe), (without, still) = states
    for name, value in with_labels.items():
        np.testing.assert_array_equal(value, without[name], err_msg=name)
    assert np.any(probe != still)


@pytest.mark.parametrize("case", ONE_EACH)
def test_the_loss_falls_and_every_metric_is_reported(case):
    model = make_model(case, optimizer="adam", learning_rate=0.01)
    losses = fit(model, batches(1).repeat(30))
    assert np.mean(losses[-5:]) < np.mean(losses[:3]) - 0.05
    history = model.fit(batches(1), verbose=0).history
    assert set(history) == {"loss", "probe_loss", "probe_accuracy", *model.metric_names}
    assert np.all(np.isfinite([value for values in history.values() for value in values]))
