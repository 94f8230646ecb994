"""What happens to a gradient between the tape and the weights: sums over replicas, clipping, loss scale, accumulation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.methods.cases import batches, fit, make_model, tiny_encoder
from tfcontrastive.config import BaseConfig, InputError
from tfcontrastive.encoders import BatchNorm
from tfcontrastive.methods import ContrastiveModel
from tfcontrastive.optimizers import LossScale


class Linear(ContrastiveModel):
    """A loss whose gradient is known: `w . mean(x)` for images x of one pixel, so dL/dw = mean(x)."""

    Config = BaseConfig

    def views_loss(self, views, training):
        features = self.encode(self.encoder, views[0], training)
        return tf.reduce_mean(features), {}, features


def linear(optimizer, regularizer=None):
    pixel = keras.Input((1, 1, 2))
    kernel = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros", kernel_regularizer=regularizer)
    model = Linear(keras.Model(pixel, kernel(keras.layers.Flatten()(pixel))), BaseConfig())
    model.compile(optimizer=optimizer)
    return model, kernel.kernel


def step(model, rows, strategy=None):
    """One step on pixels `[B, 2]`."""
    images = np.asarray(rows, np.float32)[:, None, None, :]
    data = tf.data.Dataset.from_tensors(((images, images), np.zeros(len(images), np.int32)))
    model.fit(data, verbose=0, shuffle=False)


def test_the_norm_that_is_clipped_is_that_of_the_whole_gradient(two_replicas):
    rows = [[30.0, 0.0], [0.0, 40.0]]  # mean (15, 20), of norm 25; each replica's own share is (15, 0) or (0, 20)
    with two_replicas.scope():
        model, kernel = linear(keras.optimizers.SGD(1.0, global_clipnorm=5.0))
    step(model, rows)
    np.testing.assert_allclose(np.asarray(kernel)[:, 0], [-3.0, -4.0], rtol=1e-6)


def test_penalties_of_the_encoders_weights_count_once_over_the_replicas(two_replicas):
    with two_replicas.scope():
        model, kernel = linear(keras.optimizers.SGD(1.0), keras.regularizers.L2(0.25))
    kernel.assign([[2.0], [4.0]])
    step(model, [[0.0, 0.0], [0.0, 0.0]])  # the penalty's gradient is w / 2
    np.testing.assert_allclose(np.asarray(kernel)[:, 0], [1.0, 2.0], rtol=1e-6)


def test_an_overflow_on_one_replica_skips_the_step_on_all(two_replicas):
    with two_replicas.scope():
        model, kernel = linear(LossScale(keras.optimizers.SGD(1.0), initial_scale=2.0**15))
    step(model, [[1e35, 0.0], [0.0, 1.0]])  # only the first replica's gradient times the scale is infinite
    np.testing.assert_array_equal(np.asarray(kernel)[:, 0], [0.0, 0.0])
    assert float(np.asarray(model.optimizer.dynamic_scale)) == 2.0**14
    assert int(np.asarray(model.optimizer.iterations)) == 1  # the data moved on, so did the step
    step(model, [[30.0, 0.0], [0.0, 40.0]])
    np.testing.assert_allclose(np.asarray(kernel)[:, 0], [-15.0, -20.0], rtol=1e-6)
    local = two_replicas.experimental_local_results(kernel.value)
    np.testing.assert_array_equal(local[0], local[1])


def test_float16_learns_as_float32_does_on_replicas(two_replicas):
    full = fit(make_model("simclr", learning_rate=0.01), batches(4))
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with two_replicas.scope():
            model = make_model("simclr", learning_rate=0.01)
            model.compile(optimizer=LossScale(model.optimizer.inner_optimizer))
    finally:
        keras.config.set_dtype_policy("float32")
    half = fit(model, batches(4))
    np.testing.assert_allclose(half, full, rtol=0.02)
    statistics = [variable for variable in model.encoder.non_trainable_variables if "moving" in variable.path]
    assert statistics
    assert all(variable.dtype == "float32" for variable in statistics)
    assert model.projection_head.compute_dtype == "float32"


def byol(parts):
    """BYOL without batch norm's coupling of images, so that parts of a batch add up to the batch."""
    keras.utils.set_random_seed(1)
    encoder = tiny_encoder(norm=lambda name: keras.layers.GroupNormalization(2, name=name))
    model = make_model("byol", encoder=encoder, gradient_accumulation_steps=parts)
    for layer in model._flatten_layers():
        if isinstance(layer, BatchNorm):
            layer.trainable = False
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    return model


def test_accumulated_gradients_are_those_of_the_whole_batch():
    whole, parts = byol(1), byol(2)
    losses = fit(whole, batches(2))
    np.testing.assert_allclose(fit(parts, batches(2)), losses, rtol=1e-5)
    for one, two in zip(whole.variables, parts.variables, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6, err_msg=one.path)


def test_accumulation_is_refused_where_images_are_compared():
    with pytest.raises(InputError, match=r"BYOL.*Received: 2 with SimCLR. Use `micro_batch_size`"):
        make_model("simclr", gradient_accumulation_steps=2)
