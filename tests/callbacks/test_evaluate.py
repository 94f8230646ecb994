"""Any evaluator, as a Keras callback."""

import types

import keras
import numpy as np

from tfcontrastive import data
from tfcontrastive.callbacks import Evaluate
from tfcontrastive.encoders import Whitening
from tfcontrastive.evaluate import KNN, FeatureGeometry

LABELS = np.arange(16) % 2
IMAGES = (np.random.default_rng(0).integers(0, 50, (16, 4, 4, 1)) + 150 * LABELS[:, None, None, None]).astype(np.uint8)
SOURCE = data.arrays.ArraySource({"train": (IMAGES, LABELS), "test": (IMAGES, LABELS)})


def test_it_adds_to_the_logs_of_due_epochs_and_sees_the_weights_of_then():
    inputs = keras.Input((4, 4, 1))
    features = keras.layers.Dense(3, kernel_initializer="zeros", bias_initializer="ones")(
        keras.layers.Flatten()(inputs)
    )
    encoder = keras.Model(inputs, features)
    model = keras.Sequential([encoder, keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), jit_compile=False)
    callback = Evaluate(KNN(k=3), SOURCE, every_epochs=2, encoder=encoder)
    history = {}

    class Keep(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            history[epoch] = dict(logs)

    model.fit(IMAGES / 255, LABELS, epochs=4, verbose=0, callbacks=[callback, Keep()])
    assert [epoch for epoch, logs in history.items() if "knn_top1" in logs] == [1, 3]
    assert callback.latest["knn_top1"] == history[3]["knn_top1"]
    encoder.set_weights([np.random.default_rng(0).normal(size=(16, 3)), np.zeros(3)])
    before = callback.latest
    callback.on_epoch_end(5)
    assert callback.latest != before


def test_the_models_own_encoder_and_head_are_the_default():
    class Model:
        projection_head = staticmethod(lambda features, training=False: features[:, :2])

        def __init__(self):
            inputs = keras.Input((4, 4, 1))
            self.encoder = keras.Model(inputs, keras.layers.Flatten()(inputs))

    callback, logs = Evaluate(FeatureGeometry(augmentation="crop"), SOURCE), {}
    callback.set_model(Model())
    callback.on_epoch_end(0, logs)
    assert logs["geometry_effective_rank"] > logs["geometry_projection_effective_rank"]


def test_of_an_encoder_that_whitens_it_sees_what_enters_the_whitening_and_the_head_reads():
    inputs = keras.Input((4, 4, 1))
    whitening = Whitening()
    encoder = keras.Model(inputs, whitening(keras.layers.Flatten()(inputs)))
    model = types.SimpleNamespace(encoder=encoder, projection_head=keras.layers.Dense(2))
    whitening.fit(np.random.default_rng(0).normal(size=(99, 16)))
    seen = []
    callback = Evaluate(types.SimpleNamespace(run=lambda live, source: seen.append(live) or {}), None)
    callback.set_model(model)
    callback.on_epoch_end(0)
    images = np.random.default_rng(0).random((3, 4, 4, 1), np.float32)
    np.testing.assert_array_equal(seen[0](images), images.reshape(3, 16))
    assert seen[0].projection_head is model.projection_head
