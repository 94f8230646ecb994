"""Which networks are encoders, told when they are handed over; and targets that follow them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tfcontrastive
from tests.methods.cases import CASES, SIZE, make_model, tiny_encoder
from tfcontrastive.config import InputError
from tfcontrastive.methods import METHODS

IMAGES = np.random.default_rng(0).integers(0, 256, (8, SIZE, SIZE, 3), np.uint8)
SETTINGS = {"moco": {"queue_size": 8}, "simclr": {}}


class Wide(keras.Model):
    """A subclass whose arguments Keras cannot know."""

    def __init__(self, width):
        super().__init__()
        self.conv = layers.Conv2D(width, 3)

    def call(self, images, training=False):
        return tf.reduce_mean(self.conv(images), axis=(1, 2))


class Told(Wide):
    """The same, which tells them; not registered with Keras."""

    def __init__(self, width, **kwargs):
        super().__init__(width)
        self.width = width

    def get_config(self):
        return {"width": self.width}


def called(encoder, channels=3):
    encoder(tf.zeros([1, SIZE, SIZE, channels]))
    return encoder


def of_layers(outputs=lambda x: x, shape=(SIZE, SIZE, 3), others=()):
    images = keras.Input(shape)
    return keras.Model([images, *others] if others else images, outputs(layers.GlobalAveragePooling2D()(images)))


BAD = {
    "dictionary": (lambda: of_layers(lambda x: {"features": x}), "a dictionary of outputs"),
    "list_of_one": (lambda: of_layers(lambda x: [x]), "a list of outputs"),
    "two_outputs": (lambda: of_layers(lambda x: [x, x]), "a list of outputs"),
    "two_inputs": (lambda: of_layers(others=[keras.Input((4,))]), "2 inputs"),
    "channels_first": (lambda: of_layers(shape=(3, SIZE, SIZE)), "Channels come last"),
    "unknown_channels": (lambda: of_layers(shape=(SIZE, SIZE, None)), "Received"),
    "vectors": (lambda: keras.Sequential([keras.Input((4,)), layers.Dense(2)]), "Received"),
    "no_pooling": (lambda: keras.Sequential([keras.Input((SIZE, SIZE, 3)), layers.Conv2D(2, 3)]), "Add pooling"),
    "not_built": (lambda: keras.Sequential([layers.GlobalAveragePooling2D()]), "call it once"),
    "subclass_not_called": (lambda: Told(4), "call it once"),
    "function": (lambda: tf.identity, "Received: function|Received: "),
    "none": (lambda: None, "Received: NoneType"),
}


@pytest.mark.parametrize("method", ["simclr", "moco"])
@pytest.mark.parametrize("case", BAD)
def test_what_is_no_encoder_is_refused_when_it_is_handed_over(case, method):
    make, match = BAD[case]
    with pytest.raises(InputError, match=f"`encoder` must be a built keras.Model.*{match}") as caught:
        METHODS[method](make())
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("method", sorted(METHODS))
def test_a_subclass_trains_with_every_method(method):
    settings = next(settings for name, settings in CASES.values() if name == method)
    if method in ("dim", "amdim"):
        with pytest.raises(InputError, match=r"looks at maps inside of its encoder, .* of layers\. Received: Told"):
            tfcontrastive.build(method, called(Told(4)), **settings)
        return
    model = tfcontrastive.build(method, called(Told(4)), num_classes=2, **settings)
    model.compile(keras.optimizers.SGD(0.1))
    batch = {"image": IMAGES, "label": np.arange(8) % 2, "index": np.arange(8)}
    history = model.fit(tf.data.Dataset.from_tensors(batch), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for target, online in model.targets:
        assert target is not online


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("method", ["simclr", "moco"])
@pytest.mark.parametrize("stated", [True, False])
def test_a_sequence_of_layers_trains(method, stated):
    parts = [layers.Conv2D(4, 3), layers.GlobalAveragePooling2D()]
    encoder = keras.Sequential([keras.Input((SIZE, SIZE, 3)), *parts]) if stated else called(keras.Sequential(parts))
    model = tfcontrastive.build(method, encoder, micro_batch_size=4, **SETTINGS[method])
    model.compile(keras.optimizers.SGD(0.1))
    assert np.isfinite(model.fit(IMAGES, batch_size=8, verbose=0).history["loss"]).all()
    assert model.predict(IMAGES, verbose=0).shape == (8, 4)


@pytest.mark.parametrize("method", ["moco", "byol", "moco_v3"])
def test_a_subclass_that_cannot_be_copied_is_refused_with_what_to_add(method):
    with pytest.raises(InputError, match=r"Received: Wide, .* Give it a `get_config`") as caught:
        tfcontrastive.build(method, called(Wide(4)))
    assert "\n" not in str(caught.value)
    tfcontrastive.SimCLR(called(Wide(4)))  # which copies nothing


def test_layers_of_ones_own_need_no_registration_to_be_copied():
    class Half(layers.Layer):
        def call(self, x):
            return x / 2

    model = tfcontrastive.MoCo(of_layers(lambda x: Half()(layers.Dense(3)(x))), tfcontrastive.MoCoConfig(queue_size=8))
    np.testing.assert_array_equal(model.target_encoder(IMAGES / 255.0), model.encoder(IMAGES / 255.0))


@pytest.mark.parametrize("frozen_first", [True, False])
def test_targets_follow_layers_that_are_frozen_and_unfrozen(frozen_first):
    encoder = tiny_encoder()
    layer = encoder.get_layer("conv_0")
    layer.trainable = not frozen_first
    model = make_model("moco", encoder=encoder)
    layer.trainable = frozen_first
    online, target = layer.kernel, model.target_encoder.get_layer("conv_0").kernel
    before = np.array(target)
    online.assign_add(tf.ones_like(online))
    statistics = np.array(model.target_encoder.get_layer("norm_0").moving_mean)
    model.encoder.get_layer("norm_0").moving_mean.assign_add(tf.ones([8]))
    model.follow(0.75)
    np.testing.assert_allclose(target, before + 0.25, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.target_encoder.get_layer("norm_0").moving_mean, statistics)
    model.compile("sgd")
    model.fit(IMAGES, batch_size=8, verbose=0)


def test_a_layer_that_never_trained_stays_as_it_is():
    encoder = tiny_encoder()
    encoder.get_layer("conv_0").trainable = False
    model = make_model("moco", encoder=encoder)
    target = model.target_encoder.get_layer("conv_0").kernel
    before = np.array(target)
    model.follow(0.3)
    np.testing.assert_array_equal(target, before)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("method", ["simclr", "moco"])
@pytest.mark.parametrize("replicas", [1, 2])
def test_an_encoder_with_dropout_trains(method, replicas, two_replicas):
    strategy = two_replicas if replicas == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        encoder = of_layers(lambda x: layers.Dropout(0.5)(layers.Dense(8)(x)))
        model = tfcontrastive.build(method, encoder, **SETTINGS[method])
        model.compile(keras.optimizers.SGD(0.1))
    generator = next(variable for variable in encoder.variables if "seed" in variable.path)
    before = np.array(generator)
    assert np.isfinite(model.fit(IMAGES, batch_size=8, verbose=0).history["loss"]).all()
    moved = np.array(generator)
    assert np.any(moved != before)
    model.evaluate(IMAGES, batch_size=8, verbose=0)
    np.testing.assert_array_equal(generator, moved)
