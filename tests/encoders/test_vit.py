"""The vision transformer: places, what is frozen, first weights, sizes, precision, and errors. Its numbers are checked
against the original's in test_published_numbers.py."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.encoders import ViT, encoder_from_name
from tfcontrastive.encoders.positions import INTERPOLATIONS, resized_positions
from tfcontrastive.encoders.tokens import sin_cos_positions
from tfcontrastive.runs.builders import build_encoder


def tiny(**options):
    return ViT(**{"width": 16, "depth": 2, "num_heads": 2, "patch_size": 4, "input_shape": (8, 8, 3), **options})


def images(height=8, width=8):
    return np.random.default_rng(0).random((2, height, width, 3), dtype=np.float32)


def test_places_are_sines_and_cosines_of_row_and_column():
    made = sin_cos_positions(2, 3, 8).numpy()
    for row in range(2):
        for column in range(3):
            expected = []
            for place in (row, column):
                angles = [place / 10_000 ** (4 * m / 8) for m in range(2)]
                expected += [*map(math.sin, angles), *map(math.cos, angles)]
            np.testing.assert_allclose(made[3 * row + column], expected, atol=1e-6)


def test_attention_is_a_weighted_mean_of_values_head_by_head():
    encoder = tiny(depth=1)
    layer = encoder.get_layer("block1_attention")
    x = np.random.default_rng(0).standard_normal((2, 5, 16)).astype(np.float32)
    qkv = x @ layer.qkv.kernel.numpy()
    mixed = np.zeros_like(x)
    for b in range(2):
        for head in range(2):
            own = slice(8 * head, 8 * head + 8)
            q, k, v = (qkv[b, :, 16 * part : 16 * part + 16][:, own] for part in range(3))
            for token in range(5):
                weights = np.exp([q[token] @ k[other] / math.sqrt(8) for other in range(5)])
                mixed[b, token, own] = weights @ v / weights.sum()
    np.testing.assert_allclose(layer(x), mixed @ layer.proj.kernel.numpy(), rtol=1e-4, atol=1e-5)


def test_the_patch_embedding_has_no_gradient_unless_asked_for():
    frozen = {variable.path for variable in tiny().non_trainable_variables}
    assert frozen == {"patch_embed/kernel", "patch_embed/bias"}
    assert not tiny(stop_grad_conv1=False).non_trainable_variables


def test_queries_keys_and_values_are_xavier_uniform_each():
    kernel = tiny(width=64).get_layer("block1_attention").qkv.kernel.numpy()
    limit = math.sqrt(6 / 128)
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / math.sqrt(3), rel=0.02)


def test_one_network_takes_every_size_that_the_patch_divides():
    free, fixed = tiny(input_shape=(None, None, 3)), tiny(input_shape=(8, 12, 3))
    free.set_weights(fixed.get_weights())
    np.testing.assert_allclose(free(images(8, 12)), fixed(images(8, 12)), atol=1e-5)
    assert free(images(16, 4)).shape == (2, 16)


def test_where_a_patch_is_matters():
    encoder, left = tiny(), images()
    right = left[:, :, [4, 5, 6, 7, 0, 1, 2, 3]]
    assert np.abs(encoder(left) - encoder(right)).max() > 1e-3


def test_keras_saves_and_loads_it(tmp_path):
    encoder = tiny()
    encoder.save(tmp_path / "vit.keras")
    loaded = keras.saving.load_model(tmp_path / "vit.keras")
    np.testing.assert_array_equal(loaded(images()), encoder(images()))
    assert not loaded.get_layer("patch_embed").trainable


def test_bfloat16_follows_float32():
    full, half = tiny(), tiny(dtype="mixed_bfloat16")
    half.set_weights(full.get_weights())
    features = half(images())
    assert features.dtype == tf.float32
    np.testing.assert_allclose(features, full(images()), atol=0.05)


def test_a_run_names_its_size_patch_and_depth():
    config = EncoderConfig(encoder="vit_small", width_multiplier=0.25, patch_size=4, vit_depth=2, stop_grad_conv1=False)
    made = build_encoder(config, image_size=8, channels=1).get_config()
    expected = {"width": 96, "num_heads": 3, "depth": 2, "patch_size": 4, "stop_grad_conv1": False}
    assert expected.items() <= made.items()
    assert made["input_shape"] == (8, 8, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 18}, "`width` must be a multiple of 4"),
        ({"width": 16, "num_heads": 3}, "of num_heads, 3"),
        ({"depth": 0}, "`depth` must be >= 1"),
        ({"input_shape": (8, 10, 3)}, "`patch_size` must divide the image, 8 x 10"),
        ({"input_shape": (8, 8, None)}, "channels given"),
    ],
)
def test_what_cannot_be_is_told(options, message):
    with pytest.raises(InputError, match=message):
        tiny(**options)


def test_the_published_names_make_the_published_sizes():
    encoder = encoder_from_name("vit_small", (None, None, 3), depth=1)
    assert {"width": 384, "num_heads": 12, "patch_size": 16}.items() <= encoder.get_config().items()


FOUNDATION = {
    "positions": "learned",
    "position_grid": (2, 2),
    "interpolation": "bicubic_offset",
    "registers": 2,
    "layer_scale": 0.1,
    "activation": "swiglu",
    "mlp_width": 24,
}
CLIP = {"positions": "learned", "position_grid": (2, 2), "pre_norm": True, "activation": "quick_gelu", "projection": 6}
DINOV3 = {"positions": "rotary", "registers": 1, "qkv_bias": "query_value", "activation": "gelu_tanh"}
SIGLIP = {"class_token": False, "pool": "attention", "patch_bias": False, "qkv_bias": "none"}


@pytest.mark.parametrize("options", [FOUNDATION, CLIP, DINOV3, SIGLIP])
def test_options_are_kept_and_saved(options, tmp_path):
    encoder = tiny(depth=1, input_shape=(None, None, 3), **options)
    assert options.items() <= encoder.get_config().items()
    encoder.save(tmp_path / "vit.keras")
    loaded = keras.saving.load_model(tmp_path / "vit.keras")
    np.testing.assert_array_equal(loaded(images(12, 8)), encoder(images(12, 8)))
    half = tiny(depth=1, input_shape=(None, None, 3), dtype="mixed_bfloat16", **options)
    half.set_weights(encoder.get_weights())
    np.testing.assert_allclose(half(images()), encoder(images()), atol=0.1)


def test_options_that_are_off_are_no_part_of_a_config():
    assert set(tiny(registers=0, pool="token").get_config()) == set(tiny().get_config())


def test_a_table_of_places_at_its_own_size_is_left_as_it_is():
    table = tf.reshape(tf.range(24, dtype=tf.float32), [6, 4])
    for interpolation in INTERPOLATIONS:
        same = resized_positions(table, (2, 3), tf.constant(2), tf.constant(3), interpolation)
        np.testing.assert_allclose(same, table, atol=1e-5)
        assert resized_positions(table, (2, 3), 5, 4, interpolation).shape == (20, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"positions": "learned"}, "`position_grid` must be given with positions=learned"),
        ({"pool": "median"}, "`pool` must be one of"),
        ({"class_token": False}, "`pool` must be mean or attention without a class token"),
        ({"projektion": 3}, "an option of `ViT` must be one of .* Did you mean 'projection'"),
        ({"positions": "rotary", "num_heads": 8}, "a multiple of 4 num_heads"),
        ({"registers": -1}, "`registers` must be >= 0"),
        ({"epsilon": 0.0}, "`epsilon` must be > 0"),
    ],
)
def test_options_that_cannot_be_are_told(options, message):
    with pytest.raises(InputError, match=message):
        tiny(**options)


def test_settings_come_as_json_too():
    encoder = encoder_from_name(
        "vit", (8, 8, 3), vit_options='{"width": 16, "depth": 1, "num_heads": 2, "patch_size": 4}'
    )
    assert encoder.output_shape == (None, 16)
    with pytest.raises(InputError, match="vit_options"):
        encoder_from_name("vit", (8, 8, 3), vit_options="[1]")
    with pytest.raises(InputError, match="`vit_options` must be JSON"):
        encoder_from_name("vit", (8, 8, 3), vit_options="{")
