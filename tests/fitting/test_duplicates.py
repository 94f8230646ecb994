"""What counts as the same image, and as nearly the same."""

import numpy as np

from tests.fitting.folders import drawn
from tfcontrastive.fitting import duplicates


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
