"""Optimizers by name: what each decays, and that all can be saved, replicated and compiled."""

import json
import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import optimizers
from tfcontrastive.config import InputError, OptimizerConfig
from tfcontrastive.optimizers.exclusions import TOKEN, matches

EACH = pytest.mark.parametrize("name", optimizers.NAMES)


def one_weight(layer, name, shape=(2,)):
    return keras.layers.Layer(name=layer).add_weight(name=name, shape=shape, initializer="ones")


def step(optimizer, layer="conv", name="kernel", gradient=(1.0, -2.0)):
    variable = one_weight(layer, name)
    optimizer.build([variable])
    optimizer.apply([tf.constant(gradient)], [variable])
    return np.array(variable)


@pytest.mark.parametrize(("name", "keras_name"), [("momentum", "SGD"), ("adam", "Adam")])
def test_coupled_decay_is_an_l2_penalty_in_the_loss(name, keras_name):
    """The gradient of `wd / 2 * |w|^2` is `wd * w`."""
    found = step(optimizers.build(name, 0.1, weight_decay=0.5), gradient=(1.0, -2.0))
    options = {"momentum": 0.9, "nesterov": True} if name == "momentum" else {}
    plain = getattr(keras.optimizers, keras_name)(0.1, **options)
    np.testing.assert_allclose(found, step(plain, gradient=(1.5, -1.5)))


@pytest.mark.parametrize(("name", "keras_name"), [("adamw", "AdamW"), ("lamb", "Lamb")])
def test_decoupled_decay_is_that_of_keras(name, keras_name):
    plain = getattr(keras.optimizers, keras_name)(0.1, weight_decay=0.5)
    np.testing.assert_array_equal(step(optimizers.build(name, 0.1, weight_decay=0.5)), step(plain))


@EACH
@pytest.mark.parametrize(
    ("layer", "weight", "undecayed"),
    [
        ("conv", "kernel", ()),
        ("batch_norm", "gamma", optimizers.NAMES),
        ("batch_norm", "beta", optimizers.NAMES),
        ("dense", "bias", ("lars", "adamw", "lamb", "muon")),
        ("probe", "kernel", ()),
    ],
)
def test_what_is_decayed(name, layer, weight, undecayed):
    with_decay, without = (step(optimizers.build(name, 0.1, weight_decay=decay), layer, weight) for decay in (0.3, 0.0))
    assert np.array_equal(with_decay, without) == (name in undecayed)


@EACH
def test_everything_can_be_decayed(name):
    optimizer = optimizers.build(name, 0.1, weight_decay=0.3, exclude_from_weight_decay=())
    plain = optimizers.build(name, 0.1)
    assert not np.array_equal(step(optimizer, "batch_norm", "gamma"), step(plain, "batch_norm", "gamma"))


def test_the_probe_under_lars_has_the_l2_penalty_and_no_adaptation():
    found = step(optimizers.build("lars", 0.1, weight_decay=0.5), "probe", "kernel", gradient=(1.0, -2.0))
    np.testing.assert_allclose(found, [1 - 0.15, 1 + 0.15], rtol=1e-6)


@EACH
def test_config_round_trip(name):
    optimizer = optimizers.build(name, optimizers.learning_rate_schedule(0.1, steps=9), weight_decay=0.01, clipnorm=1.0)
    made_again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(made_again) is type(optimizer)
    assert made_again.get_config() == optimizer.get_config()
    assert optimizer.get_config()["weight_decay"] == 0.01


@EACH
@pytest.mark.parametrize("jit_compile", [False, True], ids=["graph", "xla"])
def test_steps_in_a_compiled_function(name, jit_compile):
    def train(compile):
        variable, optimizer = one_weight("conv", "kernel"), optimizers.build(name, 0.1, weight_decay=0.01)
        optimizer.build([variable])
        run = compile(lambda: optimizer.apply([tf.constant([1.0, -2.0])], [variable]))
        for _ in range(3):
            run()
        return np.array(variable)

    compiled = train(lambda update: tf.function(update, jit_compile=jit_compile))
    np.testing.assert_allclose(compiled, train(lambda update: update), rtol=1e-5)


@EACH
@pytest.mark.parametrize("shape", [(2,), (2, 3)], ids=["vector", "matrix"])
def test_two_replicas_equal_one_device(name, shape, two_replicas):
    gradients = tf.constant([[1.0, -2.0], [0.5, 3.0]])
    if len(shape) == 2:
        gradients = gradients[:, :, None] * [1.0, 0.25, -2.0] + [0.5, -1.0, 0.75]

    def train(strategy, gradient_of):
        with strategy.scope():
            variable = one_weight("conv", "kernel", shape)
            optimizer = optimizers.build(name, 0.1, weight_decay=0.1)
            optimizer.build([variable])

        @tf.function
        def run():
            def update():
                replica = tf.distribute.get_replica_context().replica_id_in_sync_group
                optimizer.apply([gradient_of(replica)], [variable])

            strategy.run(update)

        for _ in range(3):
            run()
        return np.array(variable)

    alone = train(tf.distribute.get_strategy(), lambda _: tf.reduce_sum(gradients, axis=0))
    np.testing.assert_allclose(train(two_replicas, lambda replica: gradients[replica]), alone, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: optimizers.build("lar", 0.1), "`optimizer` must be one of .* Did you mean 'lars'"),
        (lambda: optimizers.build("adamw", 0.1, weight_decay=-1), "`weight_decay` must be >= 0"),
    ],
)
def test_bad_values_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


@EACH
def test_tokens_and_positions_of_transformers_are_not_decayed(name):
    for layer, weight in (("tokens", "class_token"), ("position_embedding", "embeddings")):
        decayed, plain = (step(optimizers.build(name, 0.1, weight_decay=decay), layer, weight) for decay in (0.3, 0.0))
        np.testing.assert_array_equal(decayed, plain)


@pytest.mark.parametrize(
    ("path", "excluded"),
    [
        ("vit/tokens/class_token", True),
        ("backbone/embeddings/cls_token", True),
        ("encoder/pos_embed", True),
        ("encoder/position_embedding/embeddings", True),
        ("vit/embeddings/register_tokens", True),
        ("vit/patch_embed/kernel", False),
        ("vit/tokens/kernel", False),
        ("position_embedding_mlp/dense/kernel", False),
    ],
)
def test_paths_of_tokens_and_positions(path, excluded):
    assert matches((TOKEN,), types.SimpleNamespace(path=path, name=path.split("/")[-1])) == excluded


@pytest.mark.parametrize("make", [optimizers.LARS, lambda *args, **options: optimizers.build("lars", *args, **options)])
def test_lars_does_not_adapt_a_class_token(make):
    np.testing.assert_allclose(
        step(make(0.1, momentum=0.0), "tokens", "class_token", (1.0, -2.0)), [0.9, 1.2], rtol=1e-6
    )


@pytest.mark.parametrize("name", ["adamw", "lamb", "muon"])
def test_decoupled_decay_follows_its_cosine(name):
    """Of a gradient of 0, decay alone moves a weight: by lr * wd(step) of itself."""
    options = {"weight_decay": 0.04, "weight_decay_end": 0.4, "weight_decay_steps": 4}
    optimizer, variable = optimizers.build(name, 0.1, **options), one_weight("conv", "kernel")
    optimizer.build([variable])
    expected = 1.0
    for decay in (0.04, 0.0927208, 0.22, 0.3472792, 0.4, 0.4):
        optimizer.apply([tf.zeros([2])], [variable])
        expected *= 1 - 0.1 * decay
        np.testing.assert_allclose(variable, expected, rtol=1e-5)
    again = type(optimizer).from_config(optimizer.get_config())
    assert again.get_config() == optimizer.get_config()
    assert again.get_config()["weight_decay"] == 0.04


def test_a_decay_that_moves_is_refused_where_it_is_coupled():
    with pytest.raises(InputError, match="`weight_decay_end` must be left out with lars; adamw, lamb and muon take it"):
        optimizers.build("lars", 0.1, weight_decay=0.1, weight_decay_end=0.2, weight_decay_steps=3)
    with pytest.raises(InputError, match=r"`weight_decay_end` must be >= 0, with `weight_decay_steps` of 1 or more"):
        optimizers.build("adamw", 0.1, weight_decay_end=0.2)


def test_each_weights_gradient_is_clipped_on_its_own():
    values = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "method_values.json").read_text())["dino"]
    optimizer = optimizers.build("momentum", 1.0, momentum=0.0, nesterov=False, clipnorm=3.0)
    first, second = (keras.Variable(np.zeros((2, 2), np.float32)) for _ in range(2))
    optimizer.build([first, second])
    optimizer.apply([tf.constant([[3.0, 4.0], [0.0, 0.0]]), tf.constant([[1.0, 0.0], [0.0, 0.0]])], [first, second])
    np.testing.assert_allclose(-np.array(first), values["clip_per_parameter"], rtol=1e-6)
    np.testing.assert_array_equal(-np.array(second), [[1.0, 0.0], [0.0, 0.0]])


def test_a_gradient_is_clipped_in_one_way():
    with pytest.raises(InputError, match="`clip_norm_per_weight` must be 0 with clip_norm"):
        OptimizerConfig(clip_norm=1.0, clip_norm_per_weight=3.0)
