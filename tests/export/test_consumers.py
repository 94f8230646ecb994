"""The same SavedModel in tensorflow-hub (Keras 2) and in Keras 3."""

import keras
import numpy as np
import pytest
import tensorflow as tf

hub = pytest.importorskip("tensorflow_hub", reason="the extra [hub]")
tf_keras = pytest.importorskip("tf_keras", reason="the extra [hub]")


def classifier(path, trainable):
    layer = hub.KerasLayer(path, trainable=trainable)
    model = tf_keras.Sequential([tf_keras.Input((16, 16, 3)), layer, tf_keras.layers.Dense(2)])
    model.compile(tf_keras.optimizers.SGD(0.5), tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model, layer


def fit(model, images):
    model.fit(images, np.arange(len(images)) % 2, batch_size=len(images), epochs=2, verbose=0)


def changed(layer, before):
    return [bool((a != b.numpy()).any()) for a, b in zip(before, layer.variables, strict=True)]


def test_hub_load(encoder, exported, images):
    np.testing.assert_allclose(hub.load(exported)(images), encoder(images), atol=1e-6)


@pytest.fixture(scope="module")
def tuned(exported):
    """A model around the trainable layer, the layer, and its variables before two steps."""
    model, layer = classifier(exported, trainable=True)
    before = [variable.numpy() for variable in layer.variables]
    fit(model, np.random.RandomState(7).rand(3, 16, 16, 3).astype("float32"))
    return model, layer, before


def test_fine_tuning_moves_every_weight_and_statistic(tuned):
    _, layer, before = tuned
    assert len(before) == 8
    assert all(changed(layer, before))


def test_a_frozen_layer_stays_as_it_is(exported, images):
    model, layer = classifier(exported, trainable=False)
    before = [variable.numpy() for variable in layer.variables]
    fit(model, images)
    assert not any(changed(layer, before))
    assert sum(layer.losses) == 0


def test_regularization_losses_arrive(encoder, tuned):
    _, layer, before = tuned
    kernel = next(value for value in before if value.shape == (3, 3, 3, 4))
    assert float(sum(encoder.losses)) == pytest.approx(1e-3 * (kernel**2).sum(), rel=1e-5)
    kernel = next(v.numpy() for v in layer.variables if v.shape == (3, 3, 3, 4))
    assert float(sum(layer.losses)) == pytest.approx(1e-3 * (kernel**2).sum(), rel=1e-5)


def test_a_fine_tuned_model_saves_and_loads(tuned, images, tmp_path):
    model, *_ = tuned
    model.save(tmp_path / "tuned", save_format="tf")
    again = tf_keras.models.load_model(tmp_path / "tuned")
    np.testing.assert_allclose(again(images), model(images), atol=1e-6)
    fit(again, images)
    assert np.abs(again(images) - model(images)).max() > 1e-4, "it is trained on"


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_fine_tuning_in_mixed_precision(encoder, exported, images, policy):
    tf_keras.mixed_precision.set_global_policy(policy)
    try:
        model, layer = classifier(exported, trainable=True)
        np.testing.assert_allclose(layer(images), encoder(images), atol=1e-2)
        before = [variable.numpy() for variable in layer.variables]
        fit(model, images)
    finally:
        tf_keras.mixed_precision.set_global_policy("float32")
    assert all(changed(layer, before))


def test_hub_layer_takes_a_signature(encoder, exported, images):
    layer = hub.KerasLayer(exported, signature="features", output_key="block_group1")
    assert layer(tf.constant(images)).shape == (3, 8, 8, 6)


def test_tfsm_layer_serves_and_trains(encoder, exported, images):
    layer = keras.layers.TFSMLayer(exported, call_endpoint="serving_default", call_training_endpoint="serve_training")
    plain = layer(images)["embedding"]
    np.testing.assert_allclose(plain, encoder(images), atol=1e-6)
    trained = layer(images, training=True)["embedding"]
    assert np.abs(trained - plain).max() > 1e-3, "batch statistics are in use"
    np.testing.assert_array_equal(layer(images)["embedding"], plain, "a signature has no side effect")
