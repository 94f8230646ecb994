import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.evaluate import KNN, OutOfDistribution, mapped_classes, ood, read_class_map

RNG = np.random.default_rng(0)


def images(labels, noise=5):
    """Gray squares, the lighter the higher the label."""
    labels = np.asarray(labels)
    pixels = 20 + 50 * labels[:, None, None, None] + RNG.integers(-noise, noise + 1, (len(labels), 8, 8, 1))
    return pixels.astype(np.uint8), labels


def source(names=("cat", "cow", "dog", "eel"), train=range(4)):
    train = np.repeat(list(train), 6)
    return data.arrays.ArraySource({"train": images(train), "test": images(np.repeat(range(4), 3))}, class_names=names)


def encoder(batch, training=False):
    lightness = tf.reduce_mean(batch, [1, 2])
    return tf.concat([lightness**power for power in (1, 2, 3)], axis=1)


def run(other, monkeypatch, **options):
    monkeypatch.setattr(ood.data, "load", lambda spec, data_dir=None: other)
    return OutOfDistribution(ood_dataset="other", **options).run(encoder, source())


def test_classes_of_the_same_name_are_the_same(monkeypatch):
    # Other numbers: their dog is 0 and looks like ours, 2.
    pixels, _ = images([2, 2, 0])
    other = data.arrays.ArraySource({"test": (pixels, np.array([0, 0, 1]))}, class_names=("dog", "cat"))
    values = run(other, monkeypatch)
    assert values["ood_top1"] == 1
    assert values["ood_error"] == 0
    assert values["ood_classes"] == 2
    assert values["ood_in_domain_top1"] == 1


def test_the_choice_is_among_the_classes_that_occur_there(monkeypatch):
    # As light as an eel, yet there is no eel in the other domain: the nearest of theirs is dog.
    pixels, _ = images([3, 3])
    names = ("cat", "cow", "dog", "eel")
    other = data.arrays.ArraySource({"test": (pixels, np.array([2, 0]))}, class_names=names)
    values = run(other, monkeypatch)
    assert values["ood_top1"] == 0.5
    assert values["ood_gap_top1"] == pytest.approx(0.5)


def test_a_map_may_leave_classes_out(monkeypatch, tmp_path):
    (tmp_path / "map.csv").write_text("hound,dog\n1,0\n")
    other = data.arrays.ArraySource({"test": images([2, 0, 1])}, class_names=("kitten", "mouse", "hound"))
    other._labels["test"] = np.array([2, 1, 0], np.int32)
    values = run(other, monkeypatch, class_map=str(tmp_path / "map.csv"))
    assert values["ood_images"] == 2
    assert values["ood_top1"] == 1


def test_maps_of_both_forms(tmp_path):
    (tmp_path / "map.json").write_text(json.dumps({"a": "dog", "b": 0}))
    (tmp_path / "map.csv").write_text("a, dog\nb,0\n")
    expected = {"a": "dog", "b": "0"}
    assert read_class_map(str(tmp_path / "map.json")) == read_class_map(str(tmp_path / "map.csv")) == expected
    other = data.arrays.ArraySource({"test": images([0])}, class_names=("a", "b", "c"))
    np.testing.assert_array_equal(mapped_classes(other, source(), expected), [2, 0, -1])


@pytest.mark.parametrize(
    ("names", "class_map", "message"),
    [
        (("cat", "tiger"), None, "1 of arrays are no class of arrays. Received: tiger"),
        (("a",), {"a": "doge"}, "Did you mean 'dog'"),
        (("a",), {"b": "dog"}, "a class of arrays must be one of a"),
    ],
)
def test_classes_that_do_not_exist(names, class_map, message):
    other = data.arrays.ArraySource({"test": images([0])}, class_names=names)
    with pytest.raises(InputError, match=message):
        mapped_classes(other, source(), class_map)


def test_numbers_are_the_names_of_classes_without_names():
    other = data.arrays.ArraySource({"test": images([0, 1])})
    np.testing.assert_array_equal(mapped_classes(other, source(names=None)), [0, 1])
    for one, home in ((other, source()), (source(), source(names=None))):
        with pytest.raises(InputError, match="`class_map` must be given where the classes' names differ"):
            mapped_classes(one, home)


def test_a_map_that_cannot_be_read(tmp_path):
    (tmp_path / "map.csv").write_text("dog\n")
    with pytest.raises(InputError, match="pairs"):
        read_class_map(str(tmp_path / "map.csv"))


def test_the_other_domain_must_be_named():
    with pytest.raises(InputError, match="`ood_dataset` must be given"):
        OutOfDistribution().run(encoder, source())


def test_a_head_is_a_classifier_too(monkeypatch):
    class WithHead:
        """Knows the answer: one logit is highest where the lightness is that of its class."""

        def __call__(self, batch, training=False):
            return tf.reduce_mean(batch, [1, 2]) * 255

        def supervised_head(self, features):
            return -tf.abs(features - (20 + 50 * tf.range(4, dtype=tf.float32)))

    monkeypatch.setattr(ood.data, "load", lambda spec, data_dir=None: source())
    assert OutOfDistribution(ood_dataset="other", classifier="head").run(WithHead(), source())["ood_top1"] == 1
    with pytest.raises(InputError, match="came with a classifier"):
        OutOfDistribution(ood_dataset="other", classifier="head").run(encoder, source())


def test_a_gray_encoder_looks_at_photographs_in_gray(tmp_path):
    """Color files, at home and in the other domain: an encoder of one channel takes them with one."""
    for domain in ("home/train", "home/test", "other"):
        for name, color in (("cat", (200, 30, 30)), ("dog", (30, 90, 200))):
            folder = tmp_path / domain / name
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (8, 8), color).save(folder / f"{number}.png")

    def gray(batch, training=False):
        assert batch.shape[-1] == 1
        return encoder(batch)

    gray.input_shape = (None, 8, 8, 1)
    home = data.load(f"folder:{tmp_path / 'home'}")
    assert home.channels == 3
    assert OutOfDistribution(ood_dataset=f"folder:{tmp_path / 'other'}").run(gray, home)["ood_top1"] == 1
    assert KNN(k=1).run(gray, home)["knn_top1"] == 1
