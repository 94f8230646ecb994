"""Presets of keras_hub: real folders, which keras_hub or the names of transformers wrote, of tiny random networks."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.encoders.transformers_folder import write_dinov2
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.data import Preprocessing
from tfcontrastive.encoders import encoder_from_name
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.pretrained.trained import load_trained

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
IMAGES = np.random.default_rng(0).random((3, 16, 16, 3), dtype=np.float32)
VIT = {"patch_size": 4, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "image_shape": (16, 16, 3)}


@pytest.fixture(scope="module")
def keras_hub():
    import keras_hub  # slow to import

    return keras_hub


def randomised(backbone):
    """Weights as if trained: none is zero or one, so that none can be missed."""
    draw = np.random.default_rng(1)
    for weight in backbone.weights:
        weight.assign(0.3 * draw.normal(size=weight.shape) + 0.1)
    return backbone


@pytest.fixture(scope="module")
def dinov2(keras_hub):
    return of_size(16, randomised(of_size(16, None, keras_hub)))


def of_size(size, source, keras_hub=None):
    """A DINOv2 for images of a size, with the weights of another one: a table of places of a size of its own."""
    shape = {"image_shape": (size, size, 3)}
    if source is None:
        return keras_hub.models.DINOV2Backbone(
            **VIT | shape, intermediate_dim=16, num_register_tokens=2, position_embedding_shape=(16, 16)
        )
    backbone = type(source).from_config({**source.get_config(), **shape})
    for new, old in zip(backbone.weights, source.weights, strict=True):
        if "interpolated" not in new.path:
            new.assign(old)
    places = backbone.embeddings
    places.interpolated_position_embeddings.assign(
        places._interpolate_position_embeddings(
            places.position_embeddings, patch_size=4, source_shape=(16, 16), target_shape=(size, size)
        )
    )
    return backbone


@pytest.fixture(scope="module")
def folder(dinov2, keras_hub, tmp_path_factory):
    path = str(tmp_path_factory.mktemp("hub") / "dinov2")
    dinov2.save_to_preset(path)
    keras_hub.layers.DINOV2ImageConverter(
        image_size=(16, 16),
        scale=list(1 / 255 / STD),
        offset=list(-MEAN / STD),
        interpolation="bicubic",
        antialias=True,
    ).save_to_preset(path)
    return path


def tokens(backbone, images=IMAGES, mean=MEAN, std=STD):
    return np.asarray(backbone({"images": ((images - mean) / std).astype(np.float32)}))


def test_a_preset_is_its_weights_its_normalisation_and_its_class_token(folder, dinov2):
    encoder = encoder_from_name(f"keras_hub/{folder}", (16, 16, 3))
    assert encoder.output_shape == (None, 8)
    np.testing.assert_allclose(encoder(IMAGES), tokens(dinov2)[:, 0], rtol=1e-4, atol=1e-5)


def test_a_preset_says_how_its_images_are_made(folder):
    trained = load_trained(encoder=f"keras_hub/{folder}")  # the size is the preset's
    assert trained.input_shape == (None, 16, 16, 3)
    assert trained.name == f"keras_hub/{folder}, the preset's weights"
    assert (trained.preprocessing.crop, trained.preprocessing.resize) == (1.0, "antialiased bicubic")
    np.testing.assert_allclose(trained.preprocessing.mean, MEAN, atol=1e-6)


def test_a_preset_takes_other_sizes_where_its_network_does(folder, dinov2):
    encoder = encoder_from_name(f"keras_hub/{folder}", (32, 32, 3))
    images = np.random.default_rng(0).random((2, 32, 32, 3), dtype=np.float32)
    assert encoder(images).shape == (2, 8)
    larger = of_size(32, dinov2)
    np.testing.assert_allclose(encoder(images), tokens(larger, images)[:, 0], rtol=1e-4, atol=1e-5)


def test_the_architecture_alone_is_to_be_trained_on_pixels(folder, dinov2):
    encoder = encoder_from_name(f"keras_hub/{folder}", (16, 16, 3), load_weights=False)
    assert Preprocessing.of(encoder) == Preprocessing()
    assert "normalize" not in [layer.name for layer in encoder.layers]
    assert any(np.abs(a - b).max() > 0 for a, b in zip(encoder.get_weights(), dinov2.get_weights(), strict=True))


def test_without_a_converter_a_family_keeps_its_published_normalisation(dinov2, keras_hub, tmp_path):
    dinov2.save_to_preset(str(tmp_path / "dinov2"))
    encoder = encoder_from_name(f"keras_hub/{tmp_path / 'dinov2'}", (16, 16, 3))
    np.testing.assert_allclose(encoder(IMAGES), tokens(dinov2)[:, 0], rtol=1e-4, atol=1e-5)
    vit = randomised(keras_hub.models.ViTBackbone(**VIT, mlp_dim=16))
    vit.save_to_preset(str(tmp_path / "vit"))
    encoder = encoder_from_name(f"keras_hub/{tmp_path / 'vit'}", (16, 16, 3))
    np.testing.assert_allclose(encoder(IMAGES), vit(IMAGES / 0.5 - 1)[:, 0], rtol=1e-4, atol=1e-5)


def resnet(keras_hub):
    return keras_hub.models.ResNetBackbone(
        input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 64], stackwise_num_blocks=[1, 1],
        stackwise_num_strides=[1, 2], block_type="basic_block", image_shape=(None, None, 3),
    )  # fmt: skip


def test_a_network_of_convolutions_is_averaged_over_positions(keras_hub, tmp_path):
    backbone = randomised(resnet(keras_hub))
    backbone.save_to_preset(str(tmp_path))
    keras_hub.layers.ResNetImageConverter(scale=2 / 255, offset=-1.0).save_to_preset(str(tmp_path))
    encoder = encoder_from_name(f"keras_hub/{tmp_path}", (16, 16, 3))
    expected = np.mean(backbone(2 * IMAGES - 1), axis=(1, 2))
    np.testing.assert_allclose(encoder(IMAGES), expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


def test_a_family_whose_normalisation_nobody_tells_is_refused(keras_hub, tmp_path):
    resnet(keras_hub).save_to_preset(str(tmp_path))
    with pytest.raises(
        InputError, match=r"must tell how its images are normalised.*Received: a ResNetBackbone without it"
    ):
        encoder_from_name(f"keras_hub/{tmp_path}", (16, 16, 3))
    assert encoder_from_name(f"keras_hub/{tmp_path}", (16, 16, 3), load_weights=False).output_shape == (None, 64)


@pytest.fixture(scope="module")
def transformers_folder(dinov2, tmp_path_factory):
    path = tmp_path_factory.mktemp("transformers")
    write_dinov2(path, dinov2)
    rule = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True, "image_mean": [0.5, 0.4, 0.3],
            "image_std": [0.2, 0.25, 0.3], "do_resize": True, "size": {"shortest_edge": 20}, "do_center_crop": True,
            "crop_size": {"height": 16, "width": 16}, "resample": 3}  # fmt: skip
    (path / "preprocessor_config.json").write_text(json.dumps(rule))
    return path


def test_a_model_of_transformers_is_its_weights_its_normalisation_and_its_class_token(transformers_folder, dinov2):
    trained = load_trained(encoder=f"keras_hub/{transformers_folder}", image_size=16)
    expected = tokens(dinov2, mean=[0.5, 0.4, 0.3], std=[0.2, 0.25, 0.3])[:, 0]
    np.testing.assert_allclose(trained.encoder(IMAGES), expected, rtol=1e-4, atol=1e-5)
    assert (trained.preprocessing.crop, trained.preprocessing.resize) == (0.8, "antialiased bicubic")


def test_a_preset_can_be_fine_tuned_and_saved(folder, tmp_path):
    encoder = encoder_from_name(f"keras_hub/{folder}", (16, 16, 3))
    copy = rebuild(encoder, image_size=16)
    np.testing.assert_array_equal(copy(IMAGES), encoder(IMAGES))
    with pytest.raises(InputError, match="one that dinov2_backbone takes"):
        rebuild(encoder, image_size=32)
    for number, saved in enumerate((encoder, copy)):
        saved.save(tmp_path / f"{number}.keras")
        np.testing.assert_array_equal(keras.models.load_model(tmp_path / f"{number}.keras")(IMAGES), encoder(IMAGES))


@pytest.mark.parametrize(
    ("preset", "shape", "parts"),
    [
        ("no_such_preset", (16, 16, 3), ["must be a preset", "Unknown preset identifier"]),
        ("{folder}", (16, 16, 1), ["must be a preset that takes images of 16 x 16 x 1"]),
        ("{folder}", (None, None, 1), ["takes images of 3 channels. Received: 1 channels"]),
    ],
)
def test_what_cannot_be_loaded_is_told_in_one_line(preset, shape, parts, folder):
    with pytest.raises(InputError) as error:
        encoder_from_name(f"keras_hub/{preset.format(folder=folder)}", shape)
    assert "\n" not in str(error.value)
    for part in parts:
        assert part in str(error.value)


def test_weights_are_not_asked_for_twice(folder, tmp_path):
    (tmp_path / "more.weights.h5").write_text("")
    with pytest.raises(InputError, match="brings its own"):
        encoder_from_name(f"keras_hub/{folder}", (16, 16, 3), weights=str(tmp_path / "more.weights.h5"))


def test_a_preset_is_evaluated_and_takes_any_precision(folder, tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 4
    images = (50 * labels[:, None, None, None] + rng.integers(0, 30, (40, 16, 16, 3))).astype(np.uint8)
    np.savez(tmp_path / "images.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    argv = ["evaluate", f"--encoder=keras_hub/{folder}", f"--dataset=npz:{tmp_path / 'images.npz'}"]
    assert main([*argv, f"--output_dir={tmp_path / 'out'}", "--k=3"]) == 0
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert stored["encoder"] == f"keras_hub/{folder}, the preset's weights"
    assert stored["results"][0]["metrics"]["knn_top1"] > 0.5

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        encoder = encoder_from_name(f"keras_hub/{folder}", (16, 16, 3))
    finally:
        keras.config.set_dtype_policy(policy)
    assert encoder(tf.constant(IMAGES)).dtype == "float32"
