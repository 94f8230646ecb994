import numpy as np
import pytest

from tfcontrastive import data
from tfcontrastive.config import InputError

IMAGES = np.zeros((4, 6, 5, 2), np.uint8)


def load(directory, **arrays):
    np.savez(directory / "data.npz", **arrays)
    return data.load(f"npz:{directory / 'data.npz'}")


def test_keras_names_make_two_splits(tmp_path):
    source = load(
        tmp_path, x_train=IMAGES, y_train=np.array([[0], [1], [2], [0]]), x_test=IMAGES[:2], y_test=np.array([0, 3])
    )
    assert source.splits == ("train", "test")
    assert (source.num_classes, source.channels) == (4, 2)
    images, labels = source.arrays("train")
    assert (images.shape, images.dtype) == ((4, 6, 5, 2), np.uint8)
    assert (labels.tolist(), labels.dtype) == ([0, 1, 2, 0], np.int32)


def test_gray_images_get_a_channel_and_no_labels_is_none(tmp_path):
    source = load(tmp_path, images=IMAGES[..., 0])
    images, labels = source.arrays("train")
    assert images.shape == (4, 6, 5, 1)
    assert labels is None
    assert source.num_classes is None


def test_float_images_become_bytes(tmp_path):
    source = load(tmp_path, images=np.array([0, 0.5, 1], np.float32).reshape(1, 1, 3))
    assert source.arrays("train")[0].ravel().tolist() == [0, 128, 255]


def test_wide_integers_in_0_to_255_are_pixels_and_one_hot_labels_are_classes(tmp_path):
    pixels = np.arange(0, 256, 17).reshape(4, 2, 2)  # int64
    source = load(tmp_path, images=pixels, labels=np.eye(3)[[2, 0, 1, 1]])
    images, labels = source.arrays("train")
    np.testing.assert_array_equal(images[..., 0], pixels)
    assert (images.dtype, labels.tolist(), source.num_classes) == (np.uint8, [2, 0, 1, 1], 3)


def test_class_names(tmp_path):
    source = load(tmp_path, images=IMAGES, labels=np.zeros(4, int), class_names=np.array(["cat", "dog"]))
    assert (source.class_names, source.num_classes) == (("cat", "dog"), 2)


def test_slices_keep_image_and_label_together():
    images = np.arange(50, dtype=np.uint8).reshape(50, 1, 1)
    source = data.ArraySource({"train": (images, np.arange(50))})
    held_out, labels = source.arrays("train[90%:]")
    assert held_out.ravel().tolist() == labels.tolist()
    assert source.num_examples("train[90%:]") == 5


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": IMAGES.astype(np.float32) + 2}, r"must lie in \[0, 1\]"),
        ({"images": np.full((2, 3, 3), np.nan)}, r"must lie in \[0, 1\]"),
        ({"images": IMAGES.astype(np.int64) + 256}, r"integers must lie in 0\.\.255"),
        ({"images": IMAGES.astype(bool)}, "must be uint8"),
        ({"images": IMAGES, "labels": np.eye(4)[:, :3]}, "one-hot labels must have one 1"),
        ({"images": IMAGES[0, 0]}, r"must be \[N, H, W\]"),
        ({"images": IMAGES[:0]}, r"must be \[N, H, W\]"),
        ({"pictures": IMAGES}, "must hold `images`"),
        ({"images": IMAGES, "labels": np.array([0, 1, 2])}, r"shape \[4\]"),
        ({"images": IMAGES, "labels": np.array([0.0, 1, 2, 3])}, "must be integers"),
        ({"images": IMAGES, "labels": np.array([0, 1, -1, 3])}, r"must be in 0\.\."),
        ({"images": IMAGES, "labels": np.array([0, 1, 2, 2_000_000_000])}, r"must be in 0\.\."),
        ({"images": np.zeros((4, 3, 8, 8), np.uint8)}, "channels last"),
        ({"images": IMAGES, "labels": np.array([0, 1, 2, 2]), "class_names": np.array(["a", "b"])}, r"0\.\.1"),
        ({"x_train": IMAGES, "x_test": IMAGES[..., :1]}, "same number of channels"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, arrays, message):
    with pytest.raises(InputError, match=message):
        load(tmp_path, **arrays)


def test_a_file_that_is_no_npz_is_refused(tmp_path):
    (tmp_path / "text.npz").write_text("hello")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(InputError, match=name):
            data.load(f"npz:{tmp_path / name}")
