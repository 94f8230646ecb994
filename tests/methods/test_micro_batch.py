"""A batch larger than memory: the same losses and weights as the batch in one piece."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import BATCH, ONE_EACH, SIZE, batches, fit, make_model, tiny_encoder, weights
from tfcontrastive.config import InputError
from tfcontrastive.encoders import BatchNorm

STEPS = 3


def group_norm(name):
    return keras.layers.GroupNormalization(2, name=name)


def run(case, micro_batch_size, make_encoder=lambda: tiny_encoder(norm=group_norm), **options):
    keras.utils.set_random_seed(1)
    model = make_model(case, encoder=make_encoder(), micro_batch_size=micro_batch_size, **options)
    return fit(model, batches(STEPS)), weights(model)


def assert_same(one, two, tolerance=1e-5):
    np.testing.assert_allclose(one[0], two[0], rtol=tolerance, atol=tolerance)
    for name, value in two[1].items():
        np.testing.assert_allclose(one[1][name], value, rtol=tolerance, atol=tolerance, err_msg=name)


SIZES = {"jigsaw": 48, "pirl": 16}  # of methods that see nine tiles of a view


@pytest.mark.usefixtures("eagerly", "double")
@pytest.mark.parametrize("case", ONE_EACH)
def test_micro_batches_learn_what_the_batch_does_in_one_piece_and_no_network_sees_more_images(case):
    """Every method goes through `encode`; one that calls its encoder by itself would fill the memory."""
    seen = []

    class Spy(keras.layers.Layer):
        def call(self, images):
            seen.append(images.shape[0])
            return images

        def get_config(self):
            return super().get_config()

    def spied():
        images = keras.Input((SIZE, SIZE, 3))
        return keras.Model(images, tiny_encoder(norm=group_norm)(Spy()(images)))

    with keras.saving.custom_object_scope({"Spy": Spy}):
        size = SIZES.get(case, 4)
        parts = run(case, size, spied)
        assert {rows for rows in seen if rows is not None} == {size}
        assert_same(parts, run(case, 0, spied), 1e-9)


def test_replicas_in_micro_batches_learn_what_one_device_does(two_replicas):
    with two_replicas.scope():
        together = run("simclr", 4)
    assert_same(together, run("simclr", 0))


def test_xla_compiles_them():
    assert_same(run("simclr", 4, jit_compile=True), run("simclr", 0), 1e-4)


def test_batch_norm_moves_once_a_step_by_the_mean_of_the_micro_batches():
    images = tf.random.stateless_uniform([BATCH, SIZE, SIZE, 3], [0, 1])
    model = make_model("simclr", micro_batch_size=4)
    norm = model.encoder.get_layer("norm_0")
    before = norm.moving_mean.numpy()
    activations = model.encoder.get_layer("conv_0")(images)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model.encode(model.encoder, images, training=True) ** 2)
    tape.gradient(loss, model.encoder.trainable_variables)  # the second pass leaves the statistics alone
    expected = norm.momentum * before + (1 - norm.momentum) * np.mean(activations, axis=(0, 1, 2))
    np.testing.assert_allclose(norm.moving_mean, expected, rtol=1e-5)


def test_frozen_batch_norm_is_exact_too():
    def frozen():
        encoder = tiny_encoder()
        for layer in encoder.layers:
            layer.trainable = not isinstance(layer, BatchNorm)
        return encoder

    assert_same(run("simclr", 4, frozen), run("simclr", 0, frozen))


def test_dropout_is_the_same_in_both_passes():
    """The derivative along a direction equals a difference quotient only if both passes drop the same units."""
    inputs = keras.Input((SIZE, SIZE, 3))
    hidden = keras.layers.Dense(64)(keras.layers.GlobalAveragePooling2D()(inputs))
    network = keras.Model(inputs, keras.layers.Dropout(0.5, seed=3)(hidden))
    model = make_model("simclr", encoder=network, micro_batch_size=4)
    images = tf.random.stateless_uniform([BATCH, SIZE, SIZE, 3], [0, 1])
    state = [variable.numpy() for variable in network.non_trainable_variables]

    def loss():
        for variable, value in zip(network.non_trainable_variables, state, strict=True):
            variable.assign(value)
        return tf.reduce_sum(model.encode(network, images, training=True))

    kernel = network.trainable_variables[0]
    with tf.GradientTape() as tape:
        value = loss()
    (gradient,) = tape.gradient(value, [kernel.value])
    direction = tf.ones_like(gradient)
    kernel.assign_add(direction)  # the features are linear in the kernel
    np.testing.assert_allclose(loss() - value, tf.reduce_sum(gradient * direction), rtol=1e-4)
    dropped = model.encode(network, images, training=True).numpy() == 0
    assert not np.array_equal(dropped[:4], dropped[4:8])  # each micro batch drops other units


def test_a_micro_batch_that_does_not_divide_the_batch_is_refused():
    with pytest.raises(InputError, match=r"`micro_batch_size` must divide a replica.s 32 images"):
        run("simclr", 5)
