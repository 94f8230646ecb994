"""A part of a source: which images it holds, from memory and from records."""

import numpy as np
import pytest

from tfcontrastive import augment, data
from tfcontrastive.config import InputError
from tfcontrastive.data import ArraySource, Subset, balanced_rows, labels_of


def test_each_class_gives_as_many_as_asked_or_all_it_has():
    labels = np.repeat([0, 1, 2, -1], [50, 30, 4, 16])
    rows = balanced_rows(labels, 0.3, seed=0)
    assert np.bincount(labels[rows]).tolist() == [10, 10, 4]
    assert np.array_equal(rows, balanced_rows(labels, 0.3, seed=0))
    assert not np.array_equal(rows, balanced_rows(labels, 0.3, seed=1))
    assert len(balanced_rows(labels, 1e-9, seed=0)) == 3


@pytest.mark.parametrize(("labels", "fraction"), [([0, 1], 0.0), ([0, 1], 1.1), ([-1, -1], 0.5)])
def test_no_part_of_nothing(labels, fraction):
    with pytest.raises(InputError, match="`label_fraction`"):
        balanced_rows(np.array(labels), fraction, seed=0)


@pytest.mark.parametrize("cache", [None, False])
def test_memory_and_records_hold_the_same_part(cache):
    source = data.load("embedded", cache=cache)
    rows = np.array([1, 5, 700, 1999])
    part = Subset(source, {"test": ("test", rows)})
    whole = data.load("embedded").arrays("test")
    batch = next(iter(data.eval_batches(part, "test", batch_size=8, image_size=28)))
    np.testing.assert_allclose(batch["image"], whole[0][rows] / 255.0, atol=1e-6)
    np.testing.assert_array_equal(batch["label"], whole[1][rows])
    geometry = augment.policy("none").geometry
    batches = data.train_batches(part, "test", batch_size=4, image_size=28, geometry=geometry, num_views=1, seed=0)
    first = next(iter(batches))
    assert sorted(first["index"].numpy()) == [0, 1, 2, 3]
    np.testing.assert_array_equal(first["label"], whole[1][rows][first["index"]])
    assert part.num_examples("train") == 10_000


def test_new_names_for_parts_of_a_split():
    images = np.arange(6, dtype=np.uint8)[:, None, None, None] * np.ones([1, 2, 2, 1], np.uint8)
    source = ArraySource({"train": (images, np.arange(6))})
    part = Subset(source, {"kept": ("train", np.array([0, 2])), "held_out": ("train[:3]", np.array([1]))})
    assert labels_of(part, "kept").tolist() == [0, 2]
    assert labels_of(part, "held_out").tolist() == [labels_of(source, "train[:3]")[1]]
