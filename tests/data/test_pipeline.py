import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.data.grays import COUNT, make_arrays, make_folder, which
from tfcontrastive import augment, data
from tfcontrastive.config import InputError

BATCH = 4  # does not divide COUNT, so that batches reach over the ends of epochs
GEOMETRY = augment.policy("simclr").geometry


def batches(source, count, split="train", **changes):
    options = {"batch_size": BATCH, "image_size": 6, "geometry": GEOMETRY, "seed": 7} | changes
    return list(itertools.islice(data.train_batches(source, split, **options), count))


@pytest.fixture(scope="module")
def whole(source):
    """The first 8 batches of a source, more than three epochs: what most tests here look at or compare with."""
    return batches(source, 8)


def assert_same(first, second):
    for a, b in zip(tf.nest.flatten(first), tf.nest.flatten(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_that_starts_later_gets_the_same_batches(source, whole):
    # Over the end of an epoch, in a later one; within the first: the test of replicas.
    assert_same(batches(source, 2, start_step=6), whole[6:8])


def test_every_image_comes_once_an_epoch_in_a_new_order(whole):
    shown = [index for batch in whole[: 3 * COUNT // BATCH] for index in which(batch["views"][0])]
    epochs = [shown[first : first + COUNT] for first in range(0, 2 * COUNT, COUNT)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(COUNT))] * 2
    assert epochs[0] != epochs[1]
    assert epochs[0] != list(range(COUNT))


def test_all_views_and_the_label_belong_to_one_image(whole):
    for batch in whole[:4]:
        assert which(batch["views"][0]) == which(batch["views"][1]) == batch["label"].numpy().tolist()


def assert_numbered_as_evaluated(given, source, split):
    (in_order,) = data.eval_batches(source, split, batch_size=COUNT, image_size=6)
    for batch in given:
        assert batch["index"].dtype == tf.int64
        np.testing.assert_array_equal(batch["label"], in_order["label"].numpy()[batch["index"]])


def test_numbers_are_those_of_the_order_of_evaluation_in_every_epoch(source, whole):
    assert_numbered_as_evaluated(whole, source, "train")


class OwnSource(data.Source):
    """A source of a user's own that numbers nothing."""

    name, splits = "own", ("train",)

    def __init__(self, source):
        self._source = source

    def num_examples(self, split):
        return self._source.num_examples(split)

    def arrays(self, split):
        return None

    def references(self, split, seeds=None):
        return self._source.references(split, seeds)

    def read(self, reference):
        return self._source.read(reference)


def test_a_source_that_numbers_nothing_gives_batches_without_numbers(tmp_path):
    options = {"batch_size": BATCH, "image_size": 6, "geometry": GEOMETRY, "seed": 7}
    batch = data.train_batches(OwnSource(make_folder(tmp_path, cache=False)), "train", **options).element_spec
    assert set(batch) == {"views", "seeds", "label"}


def test_elements_have_the_promised_form_and_more_views_leave_the_first_ones_as_they_are(source, whole):
    dataset = data.train_batches(
        source, "train", batch_size=BATCH, image_size=6, geometry=GEOMETRY, seed=7, num_views=5
    )
    assert dataset.element_spec["views"] == (tf.TensorSpec([BATCH, 6, 6, 3], tf.float32),) * 5
    assert dataset.element_spec["seeds"] == tf.TensorSpec([BATCH, 5, 2], tf.int32)
    assert dataset.element_spec["label"] == tf.TensorSpec([BATCH], tf.int32)
    two, five = whole[0], next(iter(dataset))
    assert_same(two["views"], five["views"][:2])
    np.testing.assert_array_equal(two["seeds"], five["seeds"][:, :2])
    assert len(np.unique(five["seeds"].numpy().reshape(-1, 2), axis=0)) == 5 * BATCH
    assert len({view.numpy().tobytes() for view in five["views"]}) == 5


def test_another_seed_gives_another_order(source, whole):
    assert [b["label"].numpy().tolist() for b in whole[:2]] != [
        b["label"].numpy().tolist() for b in batches(source, 2, seed=8)
    ]


def test_neither_threads_nor_the_global_seed_matter(source, whole):
    tf.random.set_seed(20)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    options.autotune.enabled = False
    dataset = data.train_batches(source, "train", batch_size=BATCH, image_size=6, geometry=GEOMETRY, seed=7)
    assert_same(list(dataset.with_options(options).take(4)), whole[:4])


def test_replicas_get_equal_parts_in_order_from_any_step(source, whole, two_replicas):
    dataset = data.train_batches(
        source, "train", batch_size=BATCH, image_size=6, geometry=GEOMETRY, seed=7, start_step=1
    )
    parts = itertools.islice(two_replicas.experimental_distribute_dataset(dataset), 4)
    joined = [
        tf.nest.map_structure(lambda x: tf.concat(two_replicas.experimental_local_results(x), axis=0), batch)
        for batch in parts
    ]
    assert_same(joined, whole[1:5])


def test_parts_of_the_data(source):
    part = batches(source, 6, "train[:70%]")
    shown = {index for batch in part for index in which(batch["views"][0])}
    (rest,) = data.eval_batches(source, "train[70%:]", batch_size=9, image_size=6)
    assert len(shown) == 7
    assert shown | set(rest["label"].numpy()) == set(range(COUNT))
    assert_numbered_as_evaluated(part, source, "train[:70%]")


def test_evaluation_is_in_order_and_ends_with_a_short_batch(source):
    taken = list(data.eval_batches(source, "train", batch_size=BATCH, image_size=6, limit=100))  # more than there are
    assert [len(batch["label"]) for batch in taken] == [4, 4, 2]
    assert [int(label) for batch in taken for label in batch["label"]] == list(range(COUNT))
    assert [index for batch in taken for index in which(batch["image"])] == list(range(COUNT))
    assert taken[0]["image"].shape[1:] == (6, 6, 3)


@pytest.mark.parametrize("limit", [3, 4, 6])
def test_evaluation_stops_at_the_limit(source, limit):
    taken = data.eval_batches(source, "train", batch_size=BATCH, image_size=6, limit=limit)
    assert len(taken) == -(-limit // BATCH)
    assert [int(label) for batch in taken for label in batch["label"]] == list(range(limit))


def test_evaluation_uses_the_shared_preprocessing(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 50, 40, 3), dtype=np.uint8)
    source = data.ArraySource({"train": (images, None)})
    (batch,) = data.eval_batches(source, "train", batch_size=3, image_size=36)
    np.testing.assert_array_equal(batch["image"], augment.ops.center_crop_resize(tf.constant(images), 36))
    assert batch["label"].numpy().tolist() == [-1, -1, -1]


def test_photometric_seeds_differ_between_steps_images_and_views(tmp_path):
    seeds = np.concatenate([batch["seeds"].numpy().reshape(-1, 2) for batch in batches(make_arrays(tmp_path), 5)])
    assert len(np.unique(seeds, axis=0)) == 5 * BATCH * 2


def test_crops_differ_between_rows_views_and_seeds_and_are_not_drawn_with_the_colors():
    images = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 20, 20, 3), np.uint8), BATCH, axis=0)
    (one,), (other,) = (batches(data.ArraySource({"train": (images, None)}), 1, seed=seed) for seed in (7, 8))
    with_colors = [augment.random_view_geometry(tf.constant(images), one["seeds"][:, v], GEOMETRY, 6) for v in range(2)]
    crops = np.concatenate([*one["views"], *other["views"], *with_colors])
    apart = np.abs(crops[:, None] - crops).max(axis=(2, 3, 4))
    assert apart[~np.eye(len(crops), dtype=bool)].min() > 1e-3


def test_held_and_decoded_images_give_the_same_views(tmp_path):
    """The batched path and the path of single files agree, for the order of a folder is the same in both."""
    rng = np.random.default_rng(0)
    for index in range(6):
        tf.io.write_file(str(tmp_path / f"{index}.png"), tf.io.encode_png(rng.integers(0, 256, (20, 15, 3), np.uint8)))
    held, decoded = (batches(data.load(f"folder:{tmp_path}", cache=cache), 3, image_size=10) for cache in (True, False))
    for first, second in zip(held, decoded, strict=True):
        for view, other in zip(first["views"], second["views"], strict=True):
            np.testing.assert_allclose(view, other, atol=2e-5)


def test_multispectral_images_go_through():
    images = np.random.default_rng(0).integers(0, 256, (8, 9, 9, 7), dtype=np.uint8)
    source = data.ArraySource({"train": (images, None)})
    (batch,) = batches(source, 1)
    assert batch["views"][1].shape == (BATCH, 6, 6, 7)
    assert batch["label"].numpy().tolist() == [-1] * BATCH


def test_a_batch_as_large_as_the_data_is_fine(tmp_path):
    source = make_arrays(tmp_path)
    for batch in batches(source, 2, batch_size=COUNT):
        assert sorted(which(batch["views"][0])) == list(range(COUNT))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": COUNT + 1}, "`batch_size` must be <= 10"),
        ({"batch_size": 0}, "`batch_size` must be >= 1"),
        ({"image_size": 0}, "`image_size` must be >= 1"),
        ({"num_views": 0}, "`num_views` must be >= 1"),
        ({"start_step": -1}, "`start_step` must be >= 0"),
        ({"split": "tset"}, "must be one of train"),
    ],
)
def test_bad_options_are_refused(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        batches(make_arrays(tmp_path), 1, **changes)


def test_a_file_that_broke_stops_the_run(tmp_path):
    """Without `check`, a bad file is an error and not a silent gap in the data."""
    source = make_folder(tmp_path, cache=False)
    (tmp_path / "class3" / "image.png").write_bytes(b"broken")
    with pytest.raises(tf.errors.InvalidArgumentError):
        batches(source, 3)


def test_a_held_file_that_broke_is_refused(tmp_path):
    for index in range(3):
        tf.io.write_file(str(tmp_path / f"{index}.png"), tf.io.encode_png(np.zeros((5, 5, 3), np.uint8)))
    (tmp_path / "1.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="`check` finds"):
        data.load(f"folder:{tmp_path}").arrays("train")
