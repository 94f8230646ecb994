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


def test_fine_tuning_moves_every_weight_and_statistic(exported, images):
    model, layer = classifier(exported, trainable=True)
    before = [variable.numpy() for variable in layer.variables]
    fit(model, images)
    assert len(before) == 8
    assert all(changed(layer, before))


def test_a_frozen_layer_stays_as_it_is(exported, images):
    model, layer = classifier(exported, trainable=False)
    before = [variable.numpy() for variable in layer.variables]
    fit(model, images)
    assert not any(changed(layer, before))


def test_regularization_losses_arrive(encoder, exported):
    assert float(sum(classifier(exported, True)[1].losses)) == pytest.approx(float(sum(encoder.losses)), rel=1e-6)
    assert sum(classifier(exported, False)[1].losses) == 0


def test_a_fine_tuned_model_saves_and_loads(exported, images, tmp_path):
    model, _ = classifier(exported, trainable=True)
    fit(model, images)
    model.save(tmp_path / "tuned", save_format="tf")
    again = tf_keras.models.load_model(tmp_path / "tuned")
    np.testing.assert_allclose(again(images), model(images), atol=1e-6)
    fit(again, images)


def test_hub_layer_takes_a_signature(encoder, exported, images):
    layer = hub.KerasLayer(exported, signature="features", output_key="block_group1")
    assert layer(tf.constant(images)).shape == (3, 8, 8, 6)


def test_tfsm_layer_serves_and_trains(encoder, exported, images):
    layer = keras.layers.TFSMLayer(exported, call_endpoint="serving_default", call_training_endpoint="serve_training")
    plain = layer(images)["embedding"]
    np.testing.assert_allclose(plain, encoder(images), atol=1e-6)
    trained = layer(images, training=True)["embedding"]
    assert np.abs(trained - plain).max() > 1e-3, "batch statistics are in use"
    assert np.abs(layer(images)["embedding"] - plain).max() > 1e-6, "moving statistics have moved"
