"""Every loss against its slow loop: value, gradient, precision, XLA and replicas."""

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.oracles import CASES, numeric_gradient
from tfcontrastive import losses

EACH = pytest.mark.parametrize("name", CASES)


def make_inputs(name, dtype=np.float64):
    inputs = CASES[name].inputs(np.random.RandomState(7))
    return {key: x if x.dtype == np.int32 else x.astype(dtype) for key, x in inputs.items()}


def value_and_gradients(case, inputs, replicas=1):
    tensors = {name: tf.convert_to_tensor(x) for name, x in inputs.items()}
    learned = [tensors[name] for name in case.learns]
    with tf.GradientTape() as tape:
        tape.watch(learned)
        loss = case.loss(**tensors)
        share = loss / replicas
    return loss, tape.gradient(share, learned)


@EACH
def test_value_equals_the_loop(name):
    inputs = make_inputs(name)
    np.testing.assert_allclose(CASES[name].loss(**inputs), CASES[name].value(inputs), rtol=CASES[name].tolerance)


@EACH
def test_gradient_equals_the_loop(name):
    case, inputs = CASES[name], make_inputs(name)
    _, gradients = value_and_gradients(case, inputs)
    for learned, gradient in zip(case.learns, gradients, strict=True):
        np.testing.assert_allclose(gradient, numeric_gradient(case, inputs, learned), rtol=1e-6, atol=1e-9)


@EACH
def test_no_gradient_flows_to_the_other_inputs(name):
    case, inputs = CASES[name], make_inputs(name)
    others = [key for key, x in inputs.items() if key not in case.learns and x.dtype != np.int32]
    if case.oracle.__name__ == "relic":
        others = []  # the table lists only some of those that learn
    tensors = {key: tf.convert_to_tensor(x) for key, x in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch([tensors[key] for key in others])
        loss = case.loss(**tensors)
    assert all(gradient is None for gradient in tape.gradient(loss, [tensors[key] for key in others]))


@EACH
@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16], ids=lambda dtype: dtype.name)
def test_half_precision_is_computed_in_float32(name, dtype):
    inputs = make_inputs(name, np.float32)
    halves = {key: x if x.dtype == np.int32 else tf.cast(x, dtype) for key, x in inputs.items()}
    rounded = {key: x if x.dtype == tf.int32 else tf.cast(x, tf.float32) for key, x in halves.items()}
    loss = CASES[name].loss(**halves)
    assert loss.dtype == tf.float32
    np.testing.assert_array_equal(loss, CASES[name].loss(**rounded))


@EACH
def test_compiles_with_xla(name):
    case, inputs = CASES[name], make_inputs(name, np.float32)
    compiled = tf.function(lambda inputs: value_and_gradients(case, inputs), jit_compile=True)
    loss, gradients = value_and_gradients(case, inputs)
    compiled_loss, compiled_gradients = compiled({key: tf.convert_to_tensor(x) for key, x in inputs.items()})
    np.testing.assert_allclose(compiled_loss, loss, rtol=1e-5)
    for compiled_gradient, gradient in zip(compiled_gradients, gradients, strict=True):
        np.testing.assert_allclose(compiled_gradient, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.replicates])
def test_two_replicas_with_different_data_equal_one_device(name, two_replicas):
    case, inputs = CASES[name], make_inputs(name)
    split = {key: x if key in case.shared else np.split(x, 2) for key, x in inputs.items()}
    parts = [{key: x if key in case.shared else x[i] for key, x in split.items()} for i in range(2)]
    values = {
        key: two_replicas.experimental_distribute_values_from_function(
            lambda context, key=key: tf.convert_to_tensor(parts[context.replica_id_in_sync_group][key])
        )
        for key in inputs
    }

    @tf.function
    def step(values):
        return two_replicas.run(lambda inputs: value_and_gradients(case, inputs, replicas=2), args=(values,))

    loss, gradients = value_and_gradients(case, inputs)
    replica_losses, replica_gradients = step(values)
    np.testing.assert_allclose(np.mean(two_replicas.experimental_local_results(replica_losses)), loss, rtol=1e-12)
    for together, gradient in zip(replica_gradients, gradients, strict=True):
        together = np.concatenate(two_replicas.experimental_local_results(together))
        np.testing.assert_allclose(together, gradient, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "symmetric_info_nce", "relic", "negative_cosine", "sup_con"])
def test_gradient_at_a_zero_row_is_finite(name):
    case, inputs = CASES[name], make_inputs(name, np.float32)
    for key in case.learns:
        inputs[key][0] = 0
    loss, gradients = value_and_gradients(case, inputs)
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "symmetric_info_nce", "relic", "sup_con", "instance_softmax"])
def test_a_very_low_temperature_stays_finite(name):
    case, inputs = CASES[name], make_inputs(name, np.float32)
    tensors = {key: tf.convert_to_tensor(x) for key, x in inputs.items()}
    with tf.GradientTape() as tape:
        tape.watch(tensors[case.learns[0]])
        loss = getattr(losses, case.oracle.__name__)(**tensors, **{**case.options, "temperature": 1e-4})
    assert np.isfinite(loss)
    assert np.isfinite(tape.gradient(loss, tensors[case.learns[0]])).all()
