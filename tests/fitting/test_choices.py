"""What is decided from the images and the minutes, and that what is asked for stays."""

import numpy as np
import pytest

from tests.fitting.folders import drawn
from tfcontrastive.augment import policy_from_config
from tfcontrastive.config import AugmentConfig, DataConfig, TrainConfig
from tfcontrastive.fitting import choices
from tfcontrastive.fitting.appearance import asymmetry, ink
from tfcontrastive.fitting.looking import of_array
from tfcontrastive.fitting.survey import Part, Survey
from tfcontrastive.methods import SimCLRConfig
from tfcontrastive.runs.builders import build_network
from tfcontrastive.system.precision import Precision


def seen(images: np.ndarray, channels: int = 3) -> Survey:
    count = len(images)
    rows = np.arange(count)
    part = Part(tuple(map(str, rows)), np.full(count, -1), rows, rows, tuple(of_array(image) for image in images))
    return Survey("arrays", channels, None, {"train": part}, {}, [])


@pytest.fixture(autouse=True)
def a_machine_of_known_speed(monkeypatch):
    monkeypatch.setattr(choices, "training_flops", lambda name: 3e11)


def decided(images, *, num_images=None, minutes=20.0, asked=(), channels=3, **settings):
    config = TrainConfig(method_config=SimCLRConfig(), data=DataConfig(dataset="npz:x"))
    config = choices.replace_flat(config, settings)
    made, found = choices.decide(
        config,
        seen(images, channels),
        asked=frozenset({*settings, *asked}),
        minutes=minutes,
        num_images=num_images or len(images),
        precision=Precision("float32", "since this is a test"),
    )
    assert all(one.reason for one in found)
    return made, {one.name: one for one in found}


def test_small_images_keep_their_size_and_large_ones_are_at_most_their_own():
    assert decided(drawn(20, 24)[0])[0].data.image_size == 24
    assert decided(drawn(20, 300)[0])[0].data.image_size <= 224
    assert decided(drawn(20, 80)[0])[0].data.image_size == 64


def test_more_minutes_and_fewer_images_give_a_larger_network():
    images = drawn(20, 32)[0]
    short = decided(images, num_images=50_000, minutes=3.0)[0].encoder
    long = decided(images, num_images=1_000, minutes=600.0)[0].encoder
    assert (short.resnet_depth, short.width_multiplier) == (18, 0.25)
    assert long.width_multiplier > short.width_multiplier


def test_too_few_views_of_small_images_take_a_stem_of_stride_two():
    images = drawn(20, 32)[0]
    assert decided(images, num_images=50_000, minutes=3.0)[0].encoder.stem == "strided"
    assert decided(images, num_images=1_000, minutes=600.0)[0].encoder.stem == "auto"
    assert (
        "stem" not in decided(images, num_images=50_000, minutes=3.0, width_multiplier=1.0)[1]
    )  # the network is asked for


@pytest.mark.parametrize(("minutes", "grids"), [(3.0, "4,4,0,0"), (60_000.0, "4,4,2,1")])
def test_small_images_have_features_of_places(minutes, grids):
    images = drawn(20, 32)[0]
    made = decided(images, num_images=50_000, minutes=minutes)[0]
    assert (made.encoder.feature_grids, made.method_config.proj_hidden_dim) == (grids, 256)
    assert made.encoder.whiten_features
    build_network(made.encoder, image_size=32, channels=3)
    for settings in (
        {"norm": "group"},
        {"stem": "small"},
        {"width_multiplier": 0.5},
        {"feature_grids": "0,0,2,1"},
        {"method": "dcl"},
    ):
        found = decided(images, num_images=50_000, minutes=minutes, **settings)[1]
        assert not {"feature_grids", "whiten_features", "proj_hidden_dim"} & found.keys()


@pytest.mark.parametrize(
    ("side", "minutes", "grids", "features"),
    [(80, 20.0, "4,4,2,1", 2304), (160, 60_000.0, "2,2,2,1", 2304), (300, 60_000.0, None, 2048)],
)
def test_larger_images_have_features_of_places_too_but_in_a_resnet_50(side, minutes, grids, features):
    made = decided(drawn(20, side)[0], minutes=minutes)[0]
    assert (made.encoder.feature_grids, made.encoder.whiten_features) == (grids, True)
    network = build_network(made.encoder, image_size=made.data.image_size, channels=3)
    assert network.output_shape == (None, features)


@pytest.mark.parametrize(("num_images", "batch"), [(2, 2), (40, 16), (200, 16), (800, 64), (10_000, 128)])
def test_the_batch_fits_the_number_of_images(num_images, batch):
    assert decided(drawn(20, 24)[0], num_images=num_images)[0].loop.train_batch_size == batch


def test_what_is_asked_for_is_not_decided():
    asked = {"image_size": 16, "resnet_depth": 50, "train_batch_size": 8, "learning_rate": 0.5, "keep_color": False}
    made, found = decided(drawn(20, 24)[0][..., :1].repeat(3, -1), **asked)
    assert not asked.keys() & found.keys()
    assert (made.data.image_size, made.encoder.resnet_depth, made.loop.train_batch_size) == (16, 50, 8)
    assert made.augmentation.keep_color is False


def test_letters_are_not_mirrored_and_gray_images_keep_their_colour():
    rng = np.random.default_rng(0)
    letters = np.where(rng.random([40, 28, 28, 1]) < 0.2, 255, 0).astype(np.uint8)
    made, found = decided(letters, channels=1)
    assert made.augmentation.keep_orientation
    assert "letters" in found["keep_orientation"].reason
    assert made.augmentation.keep_color


def test_images_with_a_left_and_a_right_are_not_mirrored():
    images = drawn(40, 24)[0]
    assert "keep_orientation" not in decided(images)[1]
    sided = images.copy()
    sided[:, :, :8] = 0
    assert decided(sided)[0].augmentation.keep_orientation


def test_asymmetry_is_nothing_by_chance_and_whole_for_one_image():
    noise = np.random.default_rng(0).integers(0, 256, [200, 8, 8, 1]).astype(np.uint8)
    assert asymmetry(noise) < 0.02
    assert asymmetry(np.repeat(noise[:1], 5, axis=0)) == pytest.approx(1.0, abs=1e-4)
    assert ink(np.full([2, 8, 8, 1], 255, np.uint8)) == 0  # nothing is written on it


def test_other_channels_than_colours_have_no_hue():
    images = np.random.default_rng(0).integers(0, 256, [20, 24, 24, 2]).astype(np.uint8)
    assert decided(images, channels=2)[0].augmentation.keep_color


def test_views_keep_what_they_are_told_to():
    for name in ("simclr", "byol", "moco_v1"):
        kept = policy_from_config(AugmentConfig(augmentation=name, keep_orientation=True, keep_color=True))
        assert {geometry.flip for geometry in kept.geometries} == {0.0}
        for view in kept.views:
            assert (view.gray_probability, view.solarize_probability, view.jitter.saturation, view.jitter.hue) == (
                0,
            ) * 4
            assert view.jitter.brightness > 0
        as_ever = policy_from_config(AugmentConfig(augmentation=name))
        assert as_ever.geometry.flip == 0.5
        assert as_ever.views[0].jitter.hue > 0
