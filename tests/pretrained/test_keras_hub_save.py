"""Encoders as preset folders of keras_hub: it gives the same features from them, and they are read back bit for bit."""

import dataclasses
import json

import keras
import keras_hub
import numpy as np
import pytest

from tfcontrastive import pretrained
from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.data import Preprocessing
from tfcontrastive.encoders import ResNet, encoder_from_name
from tfcontrastive.encoders.positions import sin_cos_positions
from tfcontrastive.pretrained import keras_hub_names, keras_hub_save
from tfcontrastive.runs.builders import build_network

SMALL = {"width": 16, "depth": 2, "num_heads": 2, "patch_size": 8}
ONE = {**SMALL, "depth": 1}
FACTS = {"family": "MAE", "licence": "CC-BY-NC-4.0, not for commercial use"}
LEARNED = {**ONE, "positions": "learned", "position_grid": [2, 2]}
RESNET = EncoderConfig(
    resnet_depth=18, pool_padding="symmetric", first_shortcut="identity", stem="large", preprocessing="imagenet"
)


def vit(preprocessing="vit", **options):
    return EncoderConfig(encoder="vit", vit_options=json.dumps(options), preprocessing=preprocessing)


CASES = {
    "ResNetBackbone": (RESNET, None),
    "ViTBackbone": (vit(**SMALL), 16),
    "ViTBackbone without a class token": (vit(**LEARNED, class_token=False, pool="mean", patch_bias=False), 24),
    "DINOV2Backbone": (
        vit(
            **LEARNED, registers=2, layer_scale=0.1, activation="swiglu", mlp_width=32, preprocessing="imagenet_bicubic"
        ),
        16,
    ),
    "DINOV3Backbone": (
        vit(
            **SMALL,
            positions="rotary",
            layer_scale=0.1,
            qkv_bias="query_value",
            epsilon=1e-5,
            preprocessing="satellite",
        ),
        16,
    ),
}


def network(config, size):
    """An encoder with no weight at its first value, and statistics of batch norm that are not the initial ones."""
    encoder, rng = build_network(config, image_size=size, channels=3), np.random.RandomState(1)
    for variable in encoder.variables:
        about_one = variable.path.endswith(("gamma", "variance"))
        variable.assign(
            np.abs(1 + 0.1 * rng.randn(*variable.shape)) if about_one else 0.05 * rng.randn(*variable.shape)
        )
    return encoder


@pytest.fixture(scope="module", params=CASES)
def written(request, tmp_path_factory):
    """(name of the class, encoder, its config, its size, the folder); the facts are told of one of them."""
    config, size = CASES[request.param]
    encoder, facts = network(config, size), FACTS if request.param.endswith("token") else None
    base = tmp_path_factory.mktemp("out")
    [folder], left_out = pretrained.save(base, "keras_hub", encoder=encoder, config=config, facts=facts)
    assert ("crop" in left_out[0] if left_out else False) == (Preprocessing.named(config.preprocessing).crop < 1)
    return request.param.split()[0], encoder, config, size, folder


@pytest.fixture
def images():
    return np.random.RandomState(3).rand(2, 24, 24, 3).astype("float32")


def test_keras_hub_gives_our_features_with_its_own_converter(written, images):
    kind, encoder, config, size, folder = written
    images = images[:, : size or 24, : size or 24]
    theirs = encoder_from_name(f"keras_hub/{folder}", (size, size, 3))
    assert type(keras_hub.models.Backbone.from_preset(folder, load_weights=False)).__name__ == kind
    ours = Preprocessing.named(config.preprocessing).on_pixels(encoder)(images)
    np.testing.assert_allclose(theirs(images), ours, atol=2e-5)
    converter = keras_hub.layers.ImageConverter.from_preset(folder)
    normalised = Preprocessing.named(config.preprocessing).normalize(images)
    converter.image_size = images.shape[1:3]
    np.testing.assert_allclose(converter(255 * images), normalised, atol=2e-5)


def test_every_variable_is_read_back_bit_for_bit(written):
    _, encoder, config, size, folder = written
    back = pretrained.load(folder, image_size=size)
    told = any(line == f"licence: {FACTS['licence']}" for line in back.report.description)
    assert told == ("class_token" in (config.vit_options or "")), "weights of our own are not said to be another's"
    assert dict(back.report.facts) == ({"licence": FACTS["licence"]} if told else {})
    assert back.config.preprocessing == config.preprocessing
    ours = {variable.path: variable.numpy() for variable in encoder.variables}
    others = [variable for variable in back.encoder.variables if variable.path not in ours]
    for variable in back.encoder.variables:
        if variable.path in ours and ours[variable.path].shape == tuple(variable.shape):
            np.testing.assert_array_equal(variable, ours[variable.path], variable.path)
    for variable in others:  # fixed places, as a table
        assert variable.path == "tokens/positions"
        np.testing.assert_array_equal(variable, sin_cos_positions(2, 2, 16))


@pytest.mark.parametrize("blocks", [[1, 2], [2, 1]])
@pytest.mark.parametrize("kind", ["basic_block", "bottleneck_block"])
def test_layers_of_a_resnet_are_counted_as_keras_hub_counts_them(kind, blocks):
    given = {"stackwise_num_blocks": blocks, "block_type": kind, "use_pre_activation": False}
    backbone = keras_hub.models.ResNetBackbone([64], [7], [64, 128], stackwise_num_strides=[1, 2], **given)
    convolutions = [layer.name for layer in backbone.layers if isinstance(layer, keras.layers.Conv2D)]
    norms = [layer.name for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)]

    def theirs(name):
        home, _, part = name.rpartition(".")
        if home in ("", "layer"):
            return {"conv1": "conv1_conv", "bn1": "conv1_bn"}[name]
        layer, block, *_ = home.split(".")
        place = f"stack{int(layer[5:]) - 1}_block{block}"
        if "downsample" in home:
            return f"{place}_0_{'conv' if part == '0' else 'bn'}"
        return f"{place}_{part[-1]}_{part[:-1]}"

    ours = keras_hub_names._layers_of_resnet(given)
    assert [theirs(conv) for conv, _ in ours] == convolutions
    assert [theirs(norm) for _, norm in ours] == norms


@pytest.mark.parametrize(
    ("config", "size", "said"),
    [
        (
            dataclasses.replace(RESNET, width_multiplier=0.5),
            None,
            "width_multiplier=1.0.*Received: width_multiplier=0.5",
        ),
        (
            dataclasses.replace(RESNET, pool_padding="same", width_multiplier=0.1),
            None,
            "pool_padding=symmetric.*Received: pool_padding=same",
        ),
        (
            dataclasses.replace(RESNET, preprocessing="caffe", width_multiplier=0.1),
            None,
            "channels are in order.*blue first",
        ),
        (vit(**ONE, pre_norm=True), 16, "pre_norm=False.*Received: pre_norm=True"),
        (vit(**ONE, pool="mean"), 16, "pool=token.*Received: pool=mean"),
        (vit(**ONE, activation="quick_gelu"), 16, "activation=gelu.*Received: activation=quick_gelu"),
        (vit(**LEARNED, registers=2), 16, "with both, as DINOv2's"),
        (vit(**LEARNED, layer_scale=0.1, epsilon=1e-5), 16, "epsilon=1e-06.*Received: epsilon=1e-05"),
        (vit(**ONE, positions="rotary"), 16, "layer scales, as DINOv3's"),
        (vit(**ONE), None, "`image_size` must be given"),
    ],
)
def test_what_keras_hub_has_not_is_refused_by_name(config, size, said, tmp_path):
    encoder = build_network(config, image_size=size, channels=3)
    with pytest.raises(InputError, match=f"(?s){said}"):
        pretrained.save(tmp_path, "keras_hub", encoder=encoder, config=config)
    assert not list(tmp_path.iterdir())


def test_networks_that_keras_hub_has_not_are_refused():
    shape = {"input_shape": (32, 32, 3), "pool_padding": "symmetric", "first_shortcut": "identity"}
    for encoder, said in {
        ResNet(18, norm="group", width_multiplier=0.1, **shape): "norm=batch.*Received: norm=group",
        ResNet(18, width_multiplier=0.1, **shape): "stem=large.*Received: the stem of small images",
        keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten()]): "a ResNet or a ViT. Received: Sequential",
    }.items():
        with pytest.raises(InputError, match=f"(?s){said}"):
            keras_hub_save._backbone_of(encoder, 32)


def test_a_folder_is_never_overwritten(tmp_path):
    (tmp_path / "keras_hub").mkdir()
    config, size = CASES["ViTBackbone"]
    with pytest.raises(InputError, match="must not hold keras_hub yet"):
        pretrained.save(tmp_path, "keras_hub", encoder=network(config, size), config=config)


def test_a_keras_hub_that_computes_something_else_is_found_out(tmp_path, monkeypatch):
    config, size = CASES["ViTBackbone"]
    names = dict(keras_hub_names._PARTS["ViTBackbone"])
    names["mha/query_dense"], names["mha/value_dense"] = names["mha/value_dense"], names["mha/query_dense"]
    monkeypatch.setitem(keras_hub_names._PARTS, "ViTBackbone", names)
    with pytest.raises(InputError, match=r"features that are .* apart: nothing was written"):
        pretrained.save(tmp_path, "keras_hub", encoder=network(config, size), config=config)
    assert not list(tmp_path.iterdir())
