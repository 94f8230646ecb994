"""EfficientNet-Lite: its sizes, precision, gradients, and that it saves and is rebuilt. Its numbers are checked against the
original's in tests/pretrained."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.encoders.efficientnet_lite import SIZES, EfficientNetLite, blocks_of
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.export.fold import fold_batch_norm
from tfcontrastive.runs.builders import build_network

# Of the published networks without their classifiers.
PARAMETERS = {"efficientnet_lite0": 3_371_008, "efficientnet_lite1": 4_135_680, "efficientnet_lite2": 4_811_072,
              "efficientnet_lite3": 6_916_096, "efficientnet_lite4": 11_725_568}  # fmt: skip


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return EfficientNetLite(width=0.25, depth=0.1, input_shape=(None, None, 3))


def images(height=16, width=16):
    return np.random.default_rng(0).random((2, height, width, 3), dtype=np.float32)


@pytest.mark.parametrize("name", SIZES)
def test_blocks_are_those_of_the_published_sizes(name):
    count, channels = 3 * 3 * 3 * 32 + 2 * 32, 32
    for block in blocks_of(*SIZES[name]):
        wide = block.expansion * channels
        count += (channels + 2) * wide if block.expansion > 1 else 0
        count += (block.kernel**2 + 2) * wide + (wide + 2) * block.filters
        channels = block.filters
    assert count + (channels + 2) * 1280 == PARAMETERS[name]


def test_the_network_has_the_parameters_of_its_blocks():
    network = build_network(EncoderConfig(encoder="efficientnet_lite0"), image_size=None, channels=3)
    assert sum(int(np.prod(v.shape)) for v in network.trainable_variables) == PARAMETERS["efficientnet_lite0"]
    assert network.name == "efficientnet_lite0"


def test_every_weight_has_a_gradient(encoder):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder(images()) * np.arange(1280, dtype=np.float32))
    for weight, gradient in zip(
        encoder.trainable_variables, tape.gradient(loss, encoder.trainable_variables), strict=True
    ):
        assert np.any(gradient), weight.path


def test_rebuilt_saved_and_folded_it_gives_the_same(encoder, tmp_path):
    expected = encoder(images())
    assert rebuild(encoder, image_size=16).input_shape == (None, 16, 16, 3)
    np.testing.assert_allclose(rebuild(encoder, image_size=16)(images()), expected, atol=1e-6)
    encoder.save(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "encoder.keras")(images()), expected)
    folded = fold_batch_norm(encoder)
    assert not any(isinstance(layer, keras.layers.BatchNormalization) for layer in folded.layers)
    np.testing.assert_allclose(folded(images()), expected, rtol=1e-4, atol=1e-5)


def test_features_are_float32_in_mixed_precision():
    network = EfficientNetLite(width=0.1, depth=0.1, input_shape=(16, 16, 3), dtype="mixed_bfloat16")
    assert network.get_layer("initial_conv").compute_dtype == "bfloat16"
    assert network(images()).dtype == tf.float32


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, r"`width` must be > 0\. Received: width=0\."),
        ({"depth": -1.0}, r"`depth` must be > 0\. Received: depth=-1\.0\."),
        ({"batch_norm_decay": 2.0}, r"`batch_norm_decay` must be in \[0, 1\]\. Received: 2\.0\."),
        ({"input_shape": (8, 8, None)}, "channels given"),
    ],
)
def test_values_outside_their_range(options, message):
    with pytest.raises(InputError, match=message):
        EfficientNetLite(**options)
