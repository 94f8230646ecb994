"""BatchNorm gives Keras' numbers in every form: fused, synchronized, frozen, compiled, in mixed precision."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.encoders import BatchNorm

SHAPES = [(6, 5, 4, 3), (8, 3), (4, 5, 3), (2, 3, 2, 2, 3)]


def data(shape, seed=0):
    rng = np.random.default_rng(seed)
    return tf.constant(rng.normal(1.0, 2.0, shape), tf.float32), tf.constant(rng.normal(size=shape), tf.float32)


def fill(layer, seed=1):
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))


def run(layer, x, weights_of_sum, training=True):
    """Output, gradients to input, gamma and beta, and the moving statistics after one call."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=training)
        loss = tf.reduce_sum(tf.cast(y, tf.float32) * weights_of_sum)
    grads = tape.gradient(loss, [x, *[w.value for w in (layer.gamma, layer.beta) if w is not None]])
    return [y, *grads, tf.identity(layer.moving_mean), tf.identity(layer.moving_variance)]


def assert_same(ours, theirs, tolerance=2e-5):
    for got, expected in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(tf.cast(got, tf.float32), expected, rtol=tolerance, atol=tolerance)


def pair(shape, **kwargs):
    ours, theirs = BatchNorm(**kwargs), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, **kwargs)
    for layer in (ours, theirs):
        layer.build(shape)
        fill(layer)
    return ours, theirs


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("training", [True, False])
def test_fused_equals_keras(shape, training):
    x, weights_of_sum = data(shape)
    ours, theirs = pair(shape)
    assert_same(run(ours, x, weights_of_sum, training), run(theirs, x, weights_of_sum, training))


@pytest.mark.parametrize("kwargs", [{"center": False}, {"scale": False}, {"axis": 1}])
def test_options_of_keras_hold(kwargs):
    x, weights_of_sum = data((6, 5, 4, 3))
    ours, theirs = pair(x.shape, **kwargs)
    assert_same(run(ours, x, weights_of_sum), run(theirs, x, weights_of_sum))


def test_one_row_has_finite_statistics():
    layer = BatchNorm()
    y = layer(tf.ones([1, 3]), training=True)
    np.testing.assert_allclose(y, np.zeros([1, 3]), atol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, 0.9 * np.ones(3), rtol=1e-6)


def test_frozen_layer_is_in_inference_mode():
    x, weights_of_sum = data((6, 5, 4, 3))
    frozen, reference = pair(x.shape)
    frozen.trainable = False
    assert_same(run(frozen, x, weights_of_sum, True), run(reference, x, weights_of_sum, False))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_mixed_precision_has_float32_statistics(dtype):
    x, weights_of_sum = data((16, 4, 4, 3))
    ours, theirs = BatchNorm(dtype=f"mixed_{dtype}"), keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    rounded = tf.cast(tf.cast(x, dtype), tf.float32)
    got = run(ours, rounded, weights_of_sum)
    expected = run(theirs, rounded, weights_of_sum)
    assert got[0].dtype == dtype
    assert_same(got, expected, tolerance=0.1)
    assert_same(got[-2:], expected[-2:], tolerance=1e-5)
    assert all(weight.dtype == "float32" for weight in ours.weights)


def test_compiles_with_xla():
    x, weights_of_sum = data((6, 5, 4, 3))
    ours, theirs = pair(x.shape)
    got = tf.function(lambda: run(ours, x, weights_of_sum)[:4], jit_compile=True)()
    assert_same(got, run(theirs, x, weights_of_sum)[:4])
    assert_same([ours.moving_variance.value], [theirs.moving_variance.value])


def test_saves_and_loads_as_plain_keras(tmp_path):
    x, _ = data((6, 5, 4, 3))
    images = keras.Input((5, 4, 3))
    model = keras.Model(images, BatchNorm(name="norm", momentum=0.8, synchronized=False)(images))
    fill(model.get_layer("norm"))
    assert [w.name for w in model.weights] == ["gamma", "beta", "moving_mean", "moving_variance"]
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    layer = loaded.get_layer("norm")
    assert isinstance(layer, BatchNorm)
    assert (layer.momentum, layer.synchronized) == (0.8, False)
    np.testing.assert_array_equal(loaded(x), model(x))


def replicate(strategy, layer, x, weights_of_sum):
    """`run` with the rows split over the replicas; outputs joined, gradients of shared weights summed."""

    @tf.function
    def step(x, weights_of_sum):
        return strategy.run(run, (layer, x, weights_of_sum))

    parts = [tf.split(a, strategy.num_replicas_in_sync) for a in (x, weights_of_sum)]
    values = [strategy.experimental_distribute_values_from_function(lambda c, p=p: p[c.replica_id_in_sync_group])
              for p in parts]  # fmt: skip
    y, to_x, to_gamma, to_beta, mean, variance = [strategy.experimental_local_results(r) for r in step(*values)]
    return tf.concat(y, 0), tf.concat(to_x, 0), sum(to_gamma), sum(to_beta), mean, variance


def test_two_replicas_equal_one(two_replicas):
    x, weights_of_sum = data((8, 3, 2, 3))
    x *= tf.reshape(tf.range(1.0, 9.0), [8, 1, 1, 1])  # each replica has its own mean and variance
    x += tf.reshape(tf.range(8.0), [8, 1, 1, 1])
    single, _ = pair(x.shape)
    with two_replicas.scope():
        double, _ = pair(x.shape)
    expected = run(single, x, weights_of_sum)
    got = replicate(two_replicas, double, x, weights_of_sum)
    assert_same(got[:4], expected[:4])
    for moving, expected_moving in zip(got[4:], expected[4:], strict=True):
        assert_same(moving, [expected_moving] * 2)
    assert_same([double.moving_variance.numpy()], [expected[-1]])


def test_statistics_of_each_replica_follow_their_mean(two_replicas):
    x, weights_of_sum = data((8, 3, 2, 3))
    x *= tf.reshape(tf.range(1.0, 9.0), [8, 1, 1, 1])
    with two_replicas.scope():
        layer, _ = pair(x.shape, synchronized=False)
    y, *_, mean, variance = replicate(two_replicas, layer, x, weights_of_sum)
    halves = []
    for half, weights in zip(tf.split(x, 2), tf.split(weights_of_sum, 2), strict=True):
        halves.append(run(pair(x.shape)[0], half, weights))
    assert_same([y], [tf.concat([half[0] for half in halves], 0)])
    assert_same(mean, [(halves[0][-2] + halves[1][-2]) / 2] * 2)
    assert_same(variance, [(halves[0][-1] + halves[1][-1]) / 2] * 2)


def test_exports_outside_of_the_strategy_without_collectives(two_replicas, tmp_path):
    with two_replicas.scope():
        layer = BatchNorm()
        layer.build((None, 3))
    fill(layer)
    function = tf.function(lambda x: layer(x, training=True)).get_concrete_function(tf.TensorSpec([None, 3]))
    types = {node.op for node in function.graph.as_graph_def().node}
    assert not any("Collective" in kind or "AllReduce" in kind for kind in types)
    assert "FusedBatchNormV3" in types
