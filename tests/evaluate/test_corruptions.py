import json

import imagecorruptions
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.evaluate import CORRUPTIONS, Robustness, corrupt, robustness
from tfcontrastive.evaluate.robustness import ALEXNET, ALEXNET_CLEAN, corruption_metrics, read_baseline

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (3, 40, 36, 3)).astype(np.uint8)
GRAY = np.full([2, 64, 64, 3], 128, np.uint8)


def test_the_corruptions_are_imagenet_cs():
    assert list(CORRUPTIONS) == imagecorruptions.get_corruption_names("common")
    assert set(ALEXNET) == set(CORRUPTIONS)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_noise_depends_on_the_seed_and_the_images_number_alone(name):
    together = corrupt(IMAGES, name, 3, seed=1)
    alone = corrupt(IMAGES[2:], name, 3, seed=1, first=2)
    np.testing.assert_array_equal(together[2:], alone)
    assert together.shape == IMAGES.shape
    assert together.dtype == np.uint8
    assert (together != IMAGES).any()


@pytest.mark.parametrize(
    "name", ["brightness", "contrast", "jpeg_compression", "pixelate", "defocus_blur", "zoom_blur"]
)
def test_what_has_no_noise_is_what_the_library_makes(name):
    expected = [imagecorruptions.corrupt(image, 2, name) for image in IMAGES]
    np.testing.assert_array_equal(corrupt(IMAGES, name, 2), expected)


def test_severities_are_the_published_ones():
    for severity, deviation in zip(range(1, 6), (0.08, 0.12, 0.18, 0.26, 0.38), strict=True):
        noise = np.random.default_rng(0).normal(0.5, deviation, 100_000).clip(0, 1)
        made = corrupt(GRAY, "gaussian_noise", severity) / 255
        assert made.std() == pytest.approx(noise.std(), rel=0.03)
    levels = [np.abs(corrupt(IMAGES, "contrast", s) - IMAGES.mean()).mean() for s in range(1, 6)]
    assert levels == sorted(levels, reverse=True)


def test_numpys_own_generator_stays_as_it_was():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random(2)  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    corrupt(GRAY, "fog", 1)
    np.testing.assert_array_equal(np.random.random(2), expected)  # noqa: NPY002


def test_small_and_gray_images_keep_their_shape():
    small = corrupt(RNG.integers(0, 256, (2, 9, 10, 1)).astype(np.uint8), "gaussian_noise", 1)
    assert small.shape == (2, 9, 10, 1)
    # What has no noise and looks at one pixel alone is not touched by the border.
    np.testing.assert_array_equal(corrupt(GRAY[:, :9, :9], "brightness", 1), corrupt(GRAY, "brightness", 1)[:, :9, :9])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((IMAGES, "gaussian_nois", 1), "Did you mean 'gaussian_noise'"),
        ((IMAGES, "fog", 6), "`severity` must be"),
        ((IMAGES / 255, "fog", 1), "uint8"),
        ((IMAGES[..., :2], "fog", 1), "1 or 3"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        corrupt(*arguments)


def errors_of(value):
    return {(name, severity): value(name, severity) for name in CORRUPTIONS for severity in range(1, 6)}


def test_mce_by_hand():
    values = corruption_metrics(
        errors_of(lambda name, severity: ALEXNET[name]), ALEXNET_CLEAN, (ALEXNET, ALEXNET_CLEAN)
    )
    assert values["robustness_mce"] == pytest.approx(1)  # AlexNet against itself
    assert values["robustness_relative_mce"] == pytest.approx(1)
    values = corruption_metrics(errors_of(lambda name, severity: severity / 10), 0.1, (ALEXNET, ALEXNET_CLEAN))
    assert values["robustness_mean_error"] == pytest.approx(0.3)
    assert values["robustness_mce"] == pytest.approx(np.mean([0.3 / error for error in ALEXNET.values()]))
    assert values["robustness_error/fog/4"] == 0.4
    assert "robustness_mce" not in corruption_metrics(errors_of(lambda *_: 0.5), 0.1, None)


def test_a_baseline_is_read_from_another_encoders_results(tmp_path):
    metrics = corruption_metrics(errors_of(lambda name, severity: severity / 10), 0.1, None)
    results = [{"protocol": "knn", "metrics": {}}, {"protocol": "robustness", "metrics": metrics}]
    (tmp_path / "metrics.json").write_text(json.dumps({"results": results}))
    means, clean = read_baseline(str(tmp_path))
    assert clean == 0.1
    assert means == pytest.approx(dict.fromkeys(CORRUPTIONS, 0.3))
    with pytest.raises(InputError, match="--protocol=robustness"):
        read_baseline(str(tmp_path / "none.json"))


@pytest.fixture(scope="module")
def source():
    labels = np.arange(24) % 2
    images = (60 + 120 * labels)[:, None, None, None] + RNG.integers(-20, 20, (24, 8, 8, 1))
    images = images.astype(np.uint8)
    return data.arrays.ArraySource({"train": (images, labels), "test": (images[:6], labels[:6])})


def mean_color(images, training=False):
    return tf.reduce_mean(images, [1, 2])


@pytest.fixture
def some_corruptions(monkeypatch):
    monkeypatch.setattr(robustness, "CORRUPTIONS", ("fog", "pixelate", "glass_blur", "elastic_transform"))


def test_the_protocol_corrupts_on_the_fly(source, some_corruptions):
    values = Robustness(eval_images=4, baseline="alexnet").run(mean_color, source)
    assert values["robustness_clean_error"] == 0
    assert values["robustness_error/pixelate/1"] == 0  # the mean of an image stays
    assert values["robustness_error/fog/5"] > 0  # but not under fog
    assert len([name for name in values if name.startswith("robustness_error/")]) == 20
    assert 0 < values["robustness_mce"] < 1


def test_ready_made_corruptions_are_asked_for_by_their_names(source, some_corruptions, monkeypatch):
    asked = []
    monkeypatch.setattr(robustness.data, "load", lambda name, data_dir=None: asked.append(name) or source)
    values = Robustness(corrupted_dataset="cifar10_corrupted").run(mean_color, source)
    assert values["robustness_mean_error"] == values["robustness_clean_error"] == 0
    assert asked[::5] == [
        "cifar10_corrupted/fog_1",
        "cifar10_corrupted/pixelate_1",
        "cifar10_corrupted/frosted_glass_blur_1",
        "cifar10_corrupted/elastic_1",
    ]
