"""Images that choose are apart from those that are learned from, and what they say of an encoder."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import augment, data
from tfcontrastive.config import DataConfig, InputError
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.fitting.choosing import Chooser, parts_of

COUNT = 60


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Three classes, told apart by their gray; two files of one content in each."""
    path = tmp_path_factory.mktemp("choosing") / "gray.npz"
    labels = np.arange(COUNT) % 3
    noise = np.random.default_rng(0).integers(0, 30, [COUNT, 8, 8, 1])
    np.savez(path, images=(noise + 80 * labels[:, None, None, None]).astype(np.uint8), labels=labels)
    return data.load(f"npz:{path}")


def parts(source, path, group=None, **how):
    labels = data.labels_of(source, "train")
    group = np.arange(COUNT) if group is None else group
    return parts_of(source, how.pop("labels", labels), group, str(path / "choosing.json"), seed=0, num_classes=3, **how)


def rows(found, split):
    return set(found.source._parts[split][1].tolist())


def test_a_quarter_of_each_class_chooses_and_is_not_learned_from(source, tmp_path):
    group = np.arange(COUNT) // 6 * 6 + np.arange(COUNT) % 3  # pairs of one class
    found = parts(source, tmp_path, group)
    choosing, train = rows(found, "choosing"), rows(found, "train")
    assert not choosing & train
    assert choosing | train == set(range(COUNT))
    assert not {group[row] for row in choosing} & {group[row] for row in train}
    assert [sum(row % 3 == label for row in choosing) for label in range(3)] == pytest.approx([5, 5, 5], abs=1)
    assert rows(parts(source, tmp_path, group), "choosing") == choosing  # from the list
    assert found.labelled


def test_few_images_are_refused_and_missing_labels_are_no_classes(source, tmp_path):
    few = data.Subset(source, {"train": ("train", np.arange(12))})
    with pytest.raises(InputError, match="`dataset` must have more images"):
        parts_of(few, np.arange(12) % 3, np.arange(12), str(tmp_path / "a.json"), seed=0, num_classes=3)
    assert not parts(source, tmp_path, labels=np.full(COUNT, -1)).labelled


def chooser(source, path, **how):
    config = AdaptConfig(checkpoint="given", data=DataConfig(dataset="npz:x", image_size=8))
    return Chooser(parts(source, path, **how), config, data.Preprocessing(), augment.policy("crop"))


def test_hits_are_those_of_the_classes_that_features_tell_apart(source, tmp_path):
    choose = chooser(source, tmp_path)
    told = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.GlobalAveragePooling2D(), Turn()])
    reading = choose(told)
    assert choose.probe == "knn_top1"
    assert reading.metrics["knn_top1"] == reading.scores.mean() == 1
    assert choose.linear(told).mean() == 1


def test_without_labels_images_are_looked_for_by_their_views(source, tmp_path):
    choose = chooser(source, tmp_path, labels=np.full(COUNT, -1))
    pixels = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    reading = choose(pixels)
    assert choose.probe == "retrieval_top1"
    assert reading.metrics["lidar"] > 1
    assert 0 < reading.metrics["retrieval_top1"] <= 1
    assert len(reading.scores) == len(rows(parts(source, tmp_path, labels=np.full(COUNT, -1)), "choosing"))
    assert choose.linear(pixels) is None


class Turn(keras.layers.Layer):
    """A gray as a direction in the plane."""

    def call(self, gray):
        return tf.concat([tf.cos(gray), tf.sin(gray)], axis=1)
