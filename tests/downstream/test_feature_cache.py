"""Features on disk: what was written is read, what is missing is made, and what is of something else is refused."""

import json
import logging

import numpy as np
import pytest

from tfcontrastive.config import InputError
from tfcontrastive.downstream import feature_cache
from tfcontrastive.downstream.feature_cache import FeatureCache

IMAGES, VIEWS, WIDTH = 7, 2, 3
FACTS = {"teacher": {"weights": "a1", "image_size": 8}, "views": {"seed": 0}}
FEATURES = np.random.default_rng(0).standard_normal((IMAGES, VIEWS, WIDTH))
UNIT = FEATURES / np.linalg.norm(FEATURES, axis=-1, keepdims=True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Of shards of 3, 3 and 1 images."""
    monkeypatch.setattr(feature_cache, "_NUMBERS", 3 * VIEWS * WIDTH)
    return lambda **facts: FeatureCache(
        str(tmp_path / "features"), {**FACTS, **facts}, images=IMAGES, views=VIEWS, width=WIDTH
    )


def make(first, count):
    return FEATURES[first : first + count]


def test_rows_are_what_was_made_at_unit_length(cache):
    some, said = cache(), []
    some.fill(make, some.missing(), say=said.append)
    assert said == [3, 6, 7]
    images, views = np.array([6, 0, 3, 0, 2]), np.array([1, 0, 1, 1, 0])
    for each in (some, cache()):  # the second one has only what is on disk
        assert each.missing() == []
        np.testing.assert_allclose(each.rows(images, views), UNIT[images, views], atol=5e-4)
    bucket = cache()
    bucket.directory = f"file://{bucket.directory}"  # read through TensorFlow's file systems, as from gs://
    np.testing.assert_array_equal(bucket.rows(images, views), some.rows(images, views))


def test_after_a_kill_only_what_is_missing_is_made(cache):
    asked = []

    def killed(first, count):
        asked.append(first)
        if first == 3:
            raise KeyboardInterrupt
        return make(first, count)

    first = cache()
    with pytest.raises(KeyboardInterrupt):
        first.fill(killed, first.missing())
    again = cache()
    assert again.missing() == [1, 2]
    again.fill(lambda first, count: (asked.append(first), make(first, count))[1], again.missing())
    assert asked == [0, 3, 3, 6]
    np.testing.assert_allclose(again.rows(np.arange(IMAGES), np.zeros(IMAGES, int)), UNIT[:, 0], atol=5e-4)


def test_a_shard_that_is_cut_short_is_told_of_and_made_again(cache, tmp_path, caplog):
    some = cache()
    some.fill(make, some.missing())
    path = tmp_path / "features" / "features-00001.f2"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with caplog.at_level(logging.WARNING, logger="absl"):
        assert some.missing() == [1]
    assert "features-00001.f2 is not whole, 35 bytes in place of 36" in caplog.text
    some.fill(make, [1])
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"teacher": {"weights": "b2", "image_size": 8}}, "with another teacher (weights: a1 there, b2 now)"),
        ({"views": {"seed": 1}}, "with another views (seed: 0 there, 1 now)"),
    ],
)
def test_features_of_something_else_are_refused(cache, facts, told):
    some = cache()
    some.fill(make, some.missing())
    with pytest.raises(InputError) as raised:
        cache(**facts)
    assert told in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_damaged_or_older_description_is_refused(cache, tmp_path):
    some = cache()
    some.fill(make, [])
    some.fill(make, [0])
    manifest = tmp_path / "features" / "features.json"
    stored = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**stored, "format": 0}))
    with pytest.raises(InputError, match=r"another format \(0 there, 1 now\)"):
        cache()
    manifest.write_text('{"format": ')
    with pytest.raises(InputError, match=r"must hold a whole features.json"):
        cache()


def test_features_that_are_not_finite_are_refused(cache):
    some = cache()
    with pytest.raises(InputError, match=r"`teacher` must give finite features\. Received: others of images 3 to 5"):
        some.fill(lambda first, count: make(first, count) * (np.nan if first == 3 else 1), some.missing())
    assert some.missing() == [1, 2]
