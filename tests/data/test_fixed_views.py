"""Views that are a function of the image's number and their own: the same at every size, in every epoch, from every step."""

import numpy as np
import pytest

from tests.fitting.folders import write
from tfcontrastive import data
from tfcontrastive.augment import Geometry
from tfcontrastive.config import InputError
from tfcontrastive.downstream.instances import Numbered

COUNT, VIEWS, BATCH = 6, 3, 4


@pytest.fixture(scope="module", params=["in memory", "as files"])
def views(request, tmp_path_factory):
    root = write(tmp_path_factory.mktemp("few") / "few", COUNT, 16)
    source = data.load(f"folder:{root}", cache=request.param == "in memory")
    return data.FixedViews(Numbered(source), "train", Geometry(min_area=0.3), VIEWS)


def all_views(views, size=8, first=0, count=COUNT):
    batches = list(views.of_images(first, count, batch_size=BATCH, image_size=size))
    assert [len(batch["image"]) for batch in batches] == [
        min(BATCH, count - at) * VIEWS for at in range(0, count, BATCH)
    ]
    numbers = np.concatenate([batch["label"] for batch in batches])
    np.testing.assert_array_equal(numbers, np.repeat(np.arange(first, first + count), VIEWS))
    images = np.concatenate([batch["image"] for batch in batches])
    return images.reshape(count, VIEWS, *images.shape[1:])


def test_a_view_shows_the_same_at_every_size_and_differs_from_the_others(views):
    small, large = all_views(views, 8), all_views(views, 32)
    means = large.reshape(COUNT, VIEWS, 8, 4, 8, 4, 3).mean(axis=(3, 5))
    assert np.abs(means - small).mean() < 0.05
    assert np.abs(small[:, 0] - small[:, 1]).mean() > 0.05


def test_some_images_are_those_of_all(views):
    np.testing.assert_array_equal(all_views(views, first=3, count=3), all_views(views)[3:])


def test_training_sees_each_image_once_an_epoch_in_another_view_of_the_same(views):
    every = all_views(views)
    batches = views.train_batches(batch_size=3, image_size=8, seed=5)
    epochs = [[], [], [], []]
    for step, batch in enumerate(batches.take(8)):
        np.testing.assert_allclose(batch["views"][0], every[batch["index"], batch["view"]], atol=1e-6)
        epochs[step // 2] += list(zip(batch["index"].numpy(), batch["view"].numpy(), strict=True))
        assert batch["seeds"].shape == (3, 1, 2)
    assert all(sorted(index for index, _ in epoch) == list(range(COUNT)) for epoch in epochs)
    assert len({pair for epoch in epochs[:VIEWS] for pair in epoch}) == COUNT * VIEWS
    assert sorted(epochs[0]) == sorted(epochs[VIEWS])
    later = next(iter(views.train_batches(batch_size=3, image_size=8, seed=5, start_step=7)))
    for name in ("seeds", "index", "view"):
        np.testing.assert_array_equal(later[name], batch[name])
    np.testing.assert_array_equal(later["views"][0], batch["views"][0])


def test_a_batch_of_more_images_than_there_are_is_refused(views):
    with pytest.raises(InputError, match=r"`batch_size` must be <= 6, the images of train"):
        views.train_batches(batch_size=7, image_size=8, seed=0)
