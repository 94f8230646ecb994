"""ConvNeXt: its sizes, precision, gradients, and that it saves and is rebuilt. Its numbers are checked against the
original's in tests/pretrained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders import encoder_from_name
from tfcontrastive.encoders.convnext import ConvNeXt
from tfcontrastive.encoders.rebuild import rebuild


def images(size=32):
    return np.random.default_rng(0).random((2, size, size, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return ConvNeXt(width=8, depths=(1, 2), layer_scale=0.5)


def test_a_tiny_one_has_the_published_parameters():
    network = encoder_from_name("convnext_tiny", (None, None, 3))
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == 27_820_128
    assert network.output_shape == (None, 768)


def test_every_weight_has_a_gradient(encoder):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(images(), training=True) * np.arange(16, dtype=np.float32))
    for weight, gradient in zip(
        encoder.trainable_variables, tape.gradient(loss, encoder.trainable_variables), strict=True
    ):
        assert np.any(gradient), weight.path


def test_rebuilt_and_saved_it_gives_the_same(encoder, tmp_path):
    expected = encoder(images())
    np.testing.assert_allclose(rebuild(encoder, image_size=32)(images()), expected, atol=1e-5)
    encoder.save(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "encoder.keras")(images()), expected)


def test_what_exceeds_the_first_patches_is_not_seen(encoder):
    whole = np.pad(images(), [(0, 0), (0, 1), (0, 3), (0, 0)], constant_values=9.0)
    np.testing.assert_allclose(encoder(whole), encoder(images()), atol=1e-6)


def test_features_are_float32_in_mixed_precision():
    network = ConvNeXt(width=8, depths=(1,), input_shape=(16, 16, 3), dtype="mixed_bfloat16")
    assert network.get_layer("initial_conv").compute_dtype == "bfloat16"
    assert network(images(16)).dtype == tf.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, r"`width` must be >= 1\. Received: width=0\."),
        ({"depths": (3, 0)}, r"`depths` must be >= 1 for each stage\. Received: depths=\(3, 0\)\."),
        ({"layer_scale": 0.0}, r"`layer_scale` must be > 0\. Received: layer_scale=0\.0\."),
        ({"input_shape": (28, 28, 3)}, r"at least 32 x 32 pixels\. Received: \(28, 28, 3\)\."),
        ({"input_shape": (32, 32, None)}, "channels given"),
    ],
)
def test_values_outside_their_range(options, message):
    with pytest.raises(InputError, match=message):
        ConvNeXt(**options)
