"""Views that are a function of the image's number and their own: the same at every size, in every epoch, from every step."""

import numpy as np
import pytest

from tests.fitting.folders import write
from tfcontrastive import data
from tfcontrastive.augment import Geometry, row_seeds
from tfcontrastive.config import InputError
from tfcontrastive.downstream.instances import Numbered

COUNT, VIEWS, BATCH = 6, 3, 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("few") / "few", COUNT, 16)


@pytest.fixture(scope="module")
def held(folder):
    return data.FixedViews(Numbered(data.load(f"folder:{folder}")), "train", Geometry(min_area=0.3), VIEWS)


@pytest.fixture(scope="module")
def every(held):
    """Every view of every image, `[COUNT, VIEWS, 8, 8, 3]`."""
    return images_of(held, 0, COUNT, 8)


def images_of(views, first, count, size):
    batches = list(views.of_images(first, count, batch_size=4, image_size=size))
    numbers = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(numbers, np.repeat(np.arange(first, first + count), VIEWS))
    images = np.concatenate([batch["image"] for batch in batches])
    return images.reshape(count, VIEWS, *images.shape[1:])


def test_a_view_shows_the_same_at_every_size_and_differs_from_the_others(held, every):
    large = images_of(held, 3, 3, 32)  # some of the images, by their numbers
    means = large.reshape(3, VIEWS, 8, 4, 8, 4, 3).mean(axis=(3, 5))
    assert np.abs(means - every[3:]).mean() < 0.05
    assert np.abs(every[:, 0] - every[:, 1]).mean() > 0.05


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "as files"])
def test_training_sees_each_image_once_an_epoch_in_another_view_of_the_same(in_memory, held, every, folder):
    views = held
    if not in_memory:
        source = Numbered(data.load(f"folder:{folder}", cache=False))
        views = data.FixedViews(source, "train", Geometry(min_area=0.3), VIEWS)
        np.testing.assert_allclose(images_of(views, 2, 2, 8), every[2:4], atol=1e-5)
    epochs = [[] for _ in range(4)]
    batches = views.train_batches(batch_size=BATCH, image_size=8, seed=5, start_step=2)
    for step, batch in zip(range(2, 8), batches, strict=False):
        np.testing.assert_allclose(batch["views"][0], every[batch["index"], batch["view"]], atol=1e-5)
        np.testing.assert_array_equal(batch["view"], (step // 2 + batch["index"]) % VIEWS)
        np.testing.assert_array_equal(batch["seeds"], row_seeds(5, step, np.arange(BATCH), 1))
        epochs[step // 2] += batch["index"].numpy().tolist()
    assert [sorted(epoch) for epoch in epochs[1:]] == [list(range(COUNT))] * 3
    assert epochs[1] != epochs[2]


def test_a_batch_of_more_images_than_there_are_is_refused(held):
    with pytest.raises(InputError, match=r"`batch_size` must be <= 6, the images of train"):
        held.train_batches(batch_size=7, image_size=8, seed=0)
