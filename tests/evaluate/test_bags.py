"""Features that are means over many crops of an image, and the names of what is measured of them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.data.grays import COUNT, make_arrays, make_folder
from tfcontrastive import augment, data
from tfcontrastive.config import InputError
from tfcontrastive.evaluate import KNN, Linear, evaluate, labelled_features
from tfcontrastive.report.result_text import heading, settings_sentence, value_rows

BAG = data.Bag(crops=3, area=0.5)


def corner(images, training=False):
    """A feature that depends on where a crop lies."""
    return images[:, 0, 0, :] ** 2


@pytest.fixture(scope="module")
def ramps():
    """Images of which each pixel differs."""
    images = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 1), np.uint8)
    return data.ArraySource({"train": (images, np.arange(COUNT) % 2), "test": (images[:5], np.arange(5) % 2)})


@pytest.mark.usefixtures("eagerly")
def test_features_are_the_means_over_the_crops_of_an_image(ramps):
    images, _ = ramps.arrays("train")
    geometry = augment.Geometry(0.5, 0.5, 1.0, 1.0)
    expected = []
    for number, image in enumerate(images):
        seeds = augment.row_seeds(0, tf.constant(0), tf.constant([number]), 3)[0]
        crops = [augment.random_view_geometry(image[None], seed[None], geometry, 6)[0] for seed in seeds]
        expected.append(np.mean([crop[0, 0] ** 2 for crop in crops], axis=0))
    found = labelled_features(corner, ramps, batch_size=7, image_size=6, bag=BAG)
    np.testing.assert_allclose(found.train_features, expected, atol=1e-6)
    assert found.train_labels.tolist() == [n % 2 for n in range(COUNT)]
    assert len({float(x) for x in found.train_features[:, 0]}) == COUNT


def test_files_and_images_in_memory_have_the_same_bags(tmp_path):
    (tmp_path / "files").mkdir()
    held, files = make_arrays(tmp_path), make_folder(tmp_path / "files", cache=False)
    bags = [list(BAG.batches(one, "train", batch_size=4, image_size=5, limit=6)) for one in (held, files)]
    assert [batch["image"].shape for batch in bags[1]] == [(4, 3, 5, 5, 3), (2, 3, 5, 5, 3)]
    for one, other in zip(*bags, strict=True):
        np.testing.assert_allclose(one["image"], other["image"], atol=2e-5)
        np.testing.assert_array_equal(one["label"], other["label"])


@pytest.mark.usefixtures("eagerly")
def test_no_value_of_a_bag_has_the_name_of_one_of_whole_images(ramps):
    whole, bags = KNN(k=3), KNN(k=3, bag_crops=4, bag_area=0.5)
    both = evaluate([whole, bags], corner, ramps)
    assert {"knn_top1", "knn_top1_low", "knn_bag4_top1", "knn_bag4_top1_low", "knn_bag4_k"} <= set(both)
    assert not set(bags.run(corner, ramps)) & set(whole.run(corner, ramps))
    linear = Linear(bag_crops=4, max_iter=5).measure(labelled_features(corner, ramps, bag=bags.bag))
    assert all(name.startswith("linear_bag4_") for name in linear)


def test_pages_and_tables_name_the_bag():
    evaluator = KNN(bag_crops=16)
    result = {"protocol": "knn", "dataset": "embedded", "settings": evaluator.settings, "runs": {}}
    assert heading(result) == "kNN (bags of 16 crops) on embedded"
    assert "means over 16 random crops of each image; crops of 25% of the area" in settings_sentence(result)
    _, rows = value_rows({**result, "metrics": {"knn_bag16_top1": 0.5}})
    assert rows[0][0] == "bag16: top-1 accuracy"
    assert heading({**result, "settings": KNN().settings}) == "kNN on embedded"
    assert KNN().settings.keys() == {"train_split", "eval_split", "image_size", "k", "temperature"}


def test_fresh_crops_of_sgd_and_bags_are_refused_together():
    with pytest.raises(InputError, match=r"`bag_crops` above 1 needs features that are taken once: .* bag_crops=2"):
        Linear(linear_optimizer="simclr", bag_crops=2)
    settings = dataclasses.replace(Linear(linear_optimizer="simclr", linear_augmentation=False), bag_crops=2).settings
    assert settings["bag_crops"] == 2
