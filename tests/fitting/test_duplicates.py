"""What counts as the same image, and as nearly the same."""

import numpy as np

from tests.fitting.folders import drawn
from tfcontrastive.fitting import duplicates
from tfcontrastive.fitting.holdout import hold_out


def test_the_same_bytes_are_one_group():
    digests = [duplicates.digest(content) for content in (b"a", b"b", b"a")]
    assert duplicates.groups(digests).tolist() == [0, 1, 0]


def test_lighter_and_noisier_copies_look_alike_and_other_images_do_not():
    images, _ = drawn(60, 32)
    lighter = np.clip(images[:1].astype(int) + 4, 0, 255).astype(np.uint8)
    noise = np.random.default_rng(0).integers(-3, 4, images[1:2].shape)
    noisy = np.clip(images[1:2].astype(int) + noise, 0, 255).astype(np.uint8)
    every = np.concatenate([images, lighter, noisy])
    pairs = duplicates.near_duplicates(every, np.arange(len(every)))
    assert {(0, 60), (1, 61)} <= set(pairs)
    assert len(pairs) <= 4  # of 1,891


def test_identical_files_are_not_called_nearly_alike():
    images = np.repeat(drawn(1, 32)[0], 2, axis=0)
    assert duplicates.near_duplicates(images, np.array([0, 0])) == []


def test_a_hash_of_rising_light_has_every_bit():
    ramp = np.tile(np.arange(32, dtype=np.uint8)[None, None, :, None] * 8, [1, 32, 1, 1])
    assert duplicates.difference_hash(ramp).tolist() == [[255] * 8]
    assert duplicates.difference_hash(ramp[:, :, ::-1]).tolist() == [[0] * 8]


def test_what_is_alike_by_way_of_a_third_is_together():
    near = [(4, 5), (0, 3), (3, 4)]
    labels = np.array([0, 0, 1, 0, 1, 0, 1])
    assert duplicates.together(np.arange(7), near, labels).tolist() == [0, 1, 2, 0, 0, 0, 6]


def test_a_class_of_images_that_are_all_alike_is_told_apart_by_content():
    labels = np.array([0, 0, 0, 1, 1])
    joined = duplicates.together(np.array([0, 1, 0, 3, 4]), [(0, 1), (1, 2)], labels)
    assert joined.tolist() == [0, 1, 0, 3, 4]


def test_near_duplicates_are_held_out_together():
    images, labels = drawn(60, 32)
    lighter = np.clip(images[::3].astype(int) + 4, 0, 255).astype(np.uint8)
    every, labels = np.concatenate([images, lighter]), np.concatenate([labels, labels[::3]])
    group = np.arange(len(every))
    near = duplicates.near_duplicates(every, group)
    assert len(near) >= 20
    for seed in range(4):
        out = set(hold_out(labels, duplicates.together(group, near, labels), seed=seed).tolist())
        assert out
        assert all((i in out) == (j in out) for i, j in near)
