"""Muon against singular values, Keras' own Muon, and AdamW."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import optimizers
from tfcontrastive.config import InputError
from tfcontrastive.optimizers.muon import NEWTON_SCHULZ, orthogonalizing_flops

STEPS = 4


def weights_after(optimizer, first, gradients, layer="conv", name="kernel"):
    variable = keras.layers.Layer(name=layer).add_weight(name=name, shape=first.shape)
    variable.assign(first)
    optimizer.build([variable])
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient)], [variable])
    return np.array(variable)


def made(*shape):
    rng = np.random.default_rng(0)
    return rng.normal(size=shape).astype(np.float32), rng.normal(size=(STEPS, *shape)).astype(np.float32)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9), (5, 5), (7, 1), (1, 7)])
def test_singular_values_follow_the_polynomial_and_their_vectors_stay(shape):
    a, b, c = NEWTON_SCHULZ
    matrix = made(*shape)[0]
    left, values, right = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
    values /= np.sqrt(np.sum(values**2))
    for _ in range(5):
        values = a * values + b * values**3 + c * values**5
    np.testing.assert_allclose(optimizers.orthogonalized(tf.constant(matrix)), (left * values) @ right, atol=2e-5)
    np.testing.assert_allclose(values, 1.0, atol=0.35)


def test_a_gradient_of_zeros_moves_nothing():
    first = made(3, 2)[0]
    np.testing.assert_array_equal(weights_after(optimizers.Muon(0.1), first, [np.zeros((3, 2), np.float32)]), first)


@pytest.mark.parametrize("shape", [(9, 4), (4, 9)])
def test_a_dense_kernel_moves_as_by_keras_own_muon(shape):
    """Keras' momentum is a sum and ours a mean: their direction is the same. Its kernels of convolutions are AdamW's."""
    first, gradients = made(*shape)
    theirs = keras.optimizers.Muon(
        0.01, weight_decay=0.1, adam_weight_decay=0.1, momentum=0.95, ns_steps=5, rms_rate=0.2
    )
    ours = optimizers.build("muon", 0.01, weight_decay=0.1)
    np.testing.assert_allclose(
        weights_after(ours, first, gradients), weights_after(theirs, first, gradients), atol=1e-5
    )


def test_a_convolution_is_the_matrix_of_all_its_inputs():
    first, gradients = made(3, 3, 2, 5)
    flat = weights_after(optimizers.Muon(0.01), first.reshape(18, 5), gradients.reshape(STEPS, 18, 5))
    np.testing.assert_allclose(weights_after(optimizers.Muon(0.01), first, gradients).reshape(18, 5), flat, atol=1e-6)


@pytest.mark.parametrize(
    ("layer", "name", "shape"),
    [
        ("batch_norm", "gamma", (4,)),
        ("dense", "bias", (4,)),
        ("tokens", "class_token", (1, 1, 4)),
        ("position_embedding", "embeddings", (6, 4)),
        ("embedding", "embeddings", (6, 4)),
        ("head_supervised", "kernel", (6, 4)),
        ("depthwise", "kernel", (3, 3, 4, 1)),
    ],
)
def test_all_but_kernels_are_adamws(layer, name, shape):
    first, gradients = made(*shape)
    found, plain = (
        weights_after(optimizers.build(kind, 0.01, weight_decay=0.1), first, gradients, layer, name)
        for kind in ("muon", "adamw")
    )
    np.testing.assert_array_equal(found, plain)


def test_xla_moves_a_kernel_alike():
    first, gradients = made(3, 3, 2, 5)

    def train(compile):
        variable = keras.layers.Layer(name="conv").add_weight(name="kernel", shape=first.shape)
        variable.assign(first)
        optimizer = optimizers.Muon(0.01)
        optimizer.build([variable])
        update = compile(lambda gradient: optimizer.apply([gradient], [variable]))
        for gradient in gradients:
            update(tf.constant(gradient))
        return np.array(variable)

    compiled = train(lambda update: tf.function(update, jit_compile=True))
    np.testing.assert_allclose(compiled, train(lambda update: update), atol=1e-5)


def test_a_momentum_out_of_range_is_refused():
    with pytest.raises(InputError, match=r"`momentum` must be in \[0, 1\)"):
        optimizers.Muon(0.1, momentum=1.0)


@pytest.mark.parametrize("shape", [(3, 3, 64, 128), (128, 576)])
def test_operations_are_those_that_tensorflow_counts(shape):
    kernel = keras.layers.Layer(name="conv").add_weight(name="kernel", shape=shape)
    bias = keras.layers.Layer(name="conv").add_weight(name="bias", shape=shape[-1:])
    matrix = tf.TensorSpec([int(np.prod(shape[:-1])), shape[-1]])
    graph = tf.function(optimizers.orthogonalized).get_concrete_function(matrix).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder(tf.compat.v1.profiler.ProfileOptionBuilder.float_operation())
    counted = tf.compat.v1.profiler.profile(graph, options=options.with_empty_output().build()).total_float_ops
    assert orthogonalizing_flops([kernel, bias]) == pytest.approx(counted, rel=0.02)
