"""LARS: the rule, what it leaves out, and its life as a Keras optimizer."""

import doctest
import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import optimizers
from tfcontrastive.config import InputError
from tfcontrastive.optimizers import LARS, lars_update

KERNEL = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
KERNEL_GRADIENT = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
GAMMA_GRADIENT = np.array([0.5, -0.5], np.float32)
# google-research/simclr after one and two steps at a rate of 0.1, with weight decay 1e-4.
STEPS = [
    ([[0.99990, 1.99980], [2.99970, 3.99960]], [0.95, 1.05]),
    ([[0.9997100, 1.9994199], [2.9991300, 3.9988399]], [0.855, 1.145]),
]


class Weights(keras.layers.Layer):
    """A kernel and a gamma whose paths end as a layer's do."""

    def build(self, input_shape=None):
        self.kernel = self.add_weight(name="kernel", shape=(2, 2), initializer=keras.initializers.Constant(KERNEL))
        self.gamma = self.add_weight(name="gamma", shape=(2,), initializer="ones")

    def parts(self):
        return [self.kernel, self.gamma]


def made_weights(name="layer"):
    layer = Weights(name=name)
    layer.build()
    return layer.parts()


def one_weight(name):
    """A variable whose path ends with the last part of a name, under the layers before it."""
    *layers, weight = name.split("/")
    layer = keras.layers.Layer(name="/".join(layers) or "layer")
    return layer.add_weight(name=weight, shape=(2,), initializer="ones")


def slow_lars(w, g, v, learning_rate, momentum, weight_decay, eta, adapt):
    g = g + weight_decay * w
    w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
    ratio = eta * w_norm / g_norm if adapt and w_norm > 0 and g_norm > 0 else 1.0
    v = momentum * v + learning_rate * ratio * g
    return w - v, v


@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_golden_steps(jit_compile):
    weights = made_weights()
    optimizer = LARS(0.1, weight_decay=1e-4)
    optimizer.build(weights)
    gradients = [tf.constant(KERNEL_GRADIENT), tf.constant(GAMMA_GRADIENT)]
    step = tf.function(lambda: optimizer.apply(gradients, weights), jit_compile=jit_compile)
    for kernel, gamma in STEPS:
        step()
        np.testing.assert_allclose(weights[0], kernel, atol=1e-7, rtol=1e-7)
        np.testing.assert_allclose(weights[1], gamma, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("adapt", [True, False])
def test_rule_equals_the_loop(adapt):
    w, g, v = np.random.RandomState(0).randn(3, 4, 5)
    options = {"learning_rate": 0.3, "momentum": 0.8, "weight_decay": 0.01, "eta": 0.02, "adapt": adapt}
    expected = slow_lars(w, g, v, **options)
    for found, value in zip(lars_update(*map(tf.constant, (w, g, v)), **options), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12)


@pytest.mark.parametrize("zero", ["weight", "gradient"])
def test_a_zero_norm_leaves_the_ratio_at_one(zero):
    values = {"weight": tf.ones([3]), "gradient": tf.ones([3]), "velocity": tf.zeros([3])}
    values[zero] = tf.zeros([3])
    weight, _ = lars_update(**values, learning_rate=0.5, momentum=0.9, weight_decay=0.0)
    np.testing.assert_allclose(weight, values["weight"] - 0.5 * values["gradient"])


def test_a_gradient_that_almost_vanishes_is_scaled_like_any_other():
    # The quotient of the squared norms is beyond float32.
    weight, _ = lars_update(
        tf.fill([100], 10.0), tf.fill([100], 3e-19), tf.zeros([100]), learning_rate=1.0, momentum=0.9, weight_decay=0.0
    )
    np.testing.assert_allclose(weight, np.full(100, 9.99), rtol=1e-6)


def test_the_rate_is_inside_the_velocity():
    """With no gradient after the first step, the second moves by momentum * the first, whatever the rate is then."""
    options = {"momentum": 0.9, "weight_decay": 0.0, "adapt": False}
    w, v = lars_update(tf.zeros([1]), tf.ones([1]), tf.zeros([1]), learning_rate=1.0, **options)
    moved, _ = lars_update(w, tf.zeros([1]), v, learning_rate=0.001, **options)
    np.testing.assert_allclose(moved - w, [-0.9])


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("conv/kernel", True),
        ("batch_norm_3/gamma", False),
        ("batch_normalization/beta", False),
        ("dense/bias", False),
        ("head_supervised/kernel", False),
        ("linear_probe/kernel", False),
        ("alphabeta/kernel", True),
        ("bias_of_position/kernel", True),
    ],
)
def test_default_exclusions_look_at_the_path(path, plain):
    variable = one_weight(path)
    assert variable.path.endswith(path)
    optimizer = LARS(1.0, momentum=0.0, weight_decay=0.5, eta=0.25)
    optimizer.build([variable])
    optimizer.apply([tf.ones([2])], [variable])
    # |w| = sqrt(2), |g + wd w| = 1.5 sqrt(2): the adapted step is 0.25 / 1.5 * 1.5 = 0.25.
    np.testing.assert_allclose(variable, [0.75, 0.75] if plain else [0.0, 0.0], atol=1e-6)


def test_decay_and_adaptation_are_excluded_apart():
    variable = one_weight("probe/kernel")
    optimizer = LARS(1.0, momentum=0.0, weight_decay=0.5, exclude_from_weight_decay=(),
                     exclude_from_layer_adaptation=("probe",))  # fmt: skip
    optimizer.build([variable])
    optimizer.apply([tf.ones([2])], [variable])
    np.testing.assert_allclose(variable, [-0.5, -0.5])


def test_two_replicas_equal_one_device(two_replicas):
    gradients = np.random.RandomState(0).randn(2, 2, 2).astype(np.float32)

    def train(strategy, gradient_of):
        with strategy.scope():
            weights = made_weights()
            optimizer = LARS(0.1, weight_decay=1e-2)
            optimizer.build(weights)

        @tf.function
        def step():
            def update():
                gradient = gradient_of(tf.distribute.get_replica_context().replica_id_in_sync_group)
                optimizer.apply([gradient, gradient[0]], weights)

            strategy.run(update)

        for _ in range(3):
            step()
        return [np.array(variable) for variable in weights + optimizer.variables]

    alone = train(tf.distribute.get_strategy(), lambda _: tf.constant(gradients.sum(0)))
    together = train(two_replicas, lambda replica: tf.gather(gradients, replica))
    for one, two in zip(alone, together, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-6)


def test_save_and_load_go_on_as_if_uninterrupted(tmp_path):
    rng = np.random.RandomState(0)
    x, y = rng.randn(32, 3).astype(np.float32), rng.randn(32, 2).astype(np.float32)

    def fit(model):
        model.fit(x, y, batch_size=32, epochs=2, shuffle=False, verbose=0)

    keras.utils.set_random_seed(0)
    schedule = optimizers.learning_rate_schedule(0.5, steps=10, warmup_steps=2)
    model = keras.Sequential([keras.Input([3]), keras.layers.Dense(4), keras.layers.Dense(2)])
    model.compile(optimizer=LARS(schedule, weight_decay=1e-3, eta=0.1), loss="mse")
    fit(model)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    fit(model)
    fit(loaded)
    for one, other in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_config_round_trip():
    optimizer = LARS(0.2, momentum=0.8, weight_decay=1e-4, eta=0.01, exclude_from_layer_adaptation=("x",), clipnorm=1.0)
    config = optimizer.get_config()
    assert LARS.from_config(config).get_config() == config
    assert (config["weight_decay"], config["eta"], config["clipnorm"]) == (1e-4, 0.01, 1.0)
    assert (config["momentum"], config["exclude_from_layer_adaptation"]) == (0.8, ["x"])
    assert optimizer.weight_decay is None  # else Keras would decay the weights once more


def test_in_a_loss_scale_optimizer():
    plain, scaled = made_weights("plain"), made_weights("scaled")
    gradients = [tf.constant(KERNEL_GRADIENT), tf.constant(GAMMA_GRADIENT)]
    LARS(0.1, weight_decay=1e-4).apply(gradients, plain)
    optimizer = keras.optimizers.LossScaleOptimizer(LARS(0.1, weight_decay=1e-4), initial_scale=8.0)
    optimizer.apply([8 * gradient for gradient in gradients], scaled)
    for one, other in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.0}, r"`momentum` must be in \[0, 1\). Received: momentum=1.0"),
        ({"weight_decay": -1e-4}, "`weight_decay` must be >= 0. Received: weight_decay=-0.0001"),
        ({"eta": 0}, "`eta` must be > 0. Received: eta=0"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        LARS(0.1, **options)


@pytest.mark.parametrize("module", ["lars", "schedules", "build"])
def test_examples_in_docstrings(module):
    found = importlib.import_module(f"tfcontrastive.optimizers.{module}")
    failed, tried = doctest.testmod(found, extraglobs={"tf": tf})
    assert tried
    assert not failed
