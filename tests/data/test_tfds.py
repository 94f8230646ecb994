import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests.data.grays import COUNT, make_tfds
from tfcontrastive import augment, data
from tfcontrastive.config import InputError
from tfcontrastive.data.tfds import EMBEDDED
from tfcontrastive.data.tfds_numbers import numbers_by_id

OPTIONS = {"batch_size": 4, "image_size": 12, "geometry": augment.policy("simclr").geometry, "seed": 1}


def test_embedded_images():
    source = data.load("embedded")
    assert (source.num_classes, source.channels, set(source.splits)) == (10, 1, {"train", "test"})
    assert source.class_names[-1] == "Ankle boot"
    for split, per_class in (("train", 1000), ("test", 200)):
        images, labels = source.arrays(split)
        assert (images.shape, images.dtype) == ((10 * per_class, 28, 28, 1), np.uint8)
        assert np.bincount(labels).tolist() == [per_class] * 10
        assert len(np.unique(images.reshape(len(images), -1), axis=0)) > 0.99 * len(images)


def test_embedded_licence_ships():
    (licence,) = EMBEDDED.glob("LICENSE")
    assert "Zalando" in licence.read_text()


def test_embedded_slices_mix_the_classes():
    _, labels = data.load("embedded").arrays("train[90%:]")
    assert np.bincount(labels, minlength=10).min() > 70


def test_embedded_images_are_decoded_once_and_nobody_writes_to_them():
    first, second = data.load("embedded"), data.load("embedded")
    assert first.arrays("test")[0] is second.arrays("test")[0]
    with pytest.raises(ValueError, match="read-only"):
        first.arrays("test")[0][0] = 0


def test_a_small_data_set_is_held_in_memory():
    with tfds.testing.mock_data(num_examples=COUNT):
        source = data.load("cifar10")
        images, labels = source.arrays("train")
        assert images.shape == (COUNT, 32, 32, 3)
        assert (labels.shape, source.num_classes) == ((COUNT,), 10)
        assert data.load("cifar10", cache=False).arrays("train") is None


def test_a_large_data_set_is_streamed():
    with tfds.testing.mock_data(num_examples=COUNT):
        source = data.load("imagenet2012")
        assert source.arrays("train[:90%]") is None
        batch = next(iter(data.train_batches(source, "train[:90%]", **OPTIONS)))
        assert batch["views"][0].shape == (4, 12, 12, 3)
        assert all(0 <= label < 1000 for label in batch["label"].numpy())


def test_held_and_streamed_images_are_the_same():
    for cache in (True, False):
        source = data.load("embedded", cache=cache)
        assert (source.arrays("test[:5]") is not None) == cache
        (batch,) = data.eval_batches(source, "test[:5]", batch_size=5, image_size=20)
        if cache:
            held = batch
    np.testing.assert_array_equal(held["label"], batch["label"])
    np.testing.assert_allclose(held["image"], batch["image"], atol=1e-6)


def test_slices_are_those_of_tfds(tmp_path):
    source = make_tfds(tmp_path)
    for split in ("train[:70%]", "train[70%:]", "train[:2]+train[8:]"):
        expected = [int(label) for label in source._builder.as_dataset(split=split).map(lambda x: x["label"])]
        assert sorted(int(label) for _, label in source.references(split)) == sorted(expected)
        assert source.num_examples(split) == len(expected)


@pytest.mark.parametrize("split", ["train", "train[70%:]", "train[5:7]+train[:2]+train[8:]"])
def test_numbers_are_those_of_the_order_on_disk_and_change_no_order(tmp_path, split):
    source = make_tfds(tmp_path)
    on_disk = [int(label) for _, label in source.references(split)]
    assert [int(number) for *_, number in source.numbered(split)] == list(range(len(on_disk)))
    seeds = tf.constant([3, 5], tf.int64)
    shuffled = [(int(label), int(number)) for _, label, number in source.numbered(split, seeds)]
    assert [label for label, _ in shuffled] == [int(label) for _, label in source.references(split, seeds)]
    assert [on_disk[number] for _, number in shuffled] == [label for label, _ in shuffled]
    if split == "train":  # of three images the shuffled order may be the one on disk
        assert [label for label, _ in shuffled] != on_disk


def test_files_of_one_name_number_nothing():
    assert numbers_by_id([("a/x", 0, 2), ("b/x", 0, 2)]) is None


@pytest.mark.parametrize(
    "split", ["trian", "train[", "train[:200%]", "train[5:5]", "train[7:5]", "train[50%:20%]", "train[:2]+train[7:5]"]
)
def test_bad_splits_are_refused(tmp_path, split):
    source = make_tfds(tmp_path)
    for use in (source.num_examples, source.arrays, lambda s: data.eval_batches(source, s, batch_size=2, image_size=4)):
        with pytest.raises(InputError, match="split"):
            use(split)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar11", "'cifar10"),
        ("cifar10/blue", "blue"),
        ("cifar10:9.9.9", "9.9.9"),
        ("/etc", "folder:/etc"),
        ("fodler:x", "'folder'"),
    ],
)
def test_unknown_names_are_refused(name, message):
    with pytest.raises(InputError, match=message):
        data.load(name)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    def offline(self, *args, **options):
        raise ConnectionError("no network\nmore lines")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    with pytest.raises(InputError, match="no network Run `tfds build cifar10`"):
        data.load("cifar10", data_dir=str(tmp_path))


def test_text_data_is_refused():
    with tfds.testing.mock_data(), pytest.raises(InputError, match="images of 8 bits"):
        data.load("imdb_reviews")
