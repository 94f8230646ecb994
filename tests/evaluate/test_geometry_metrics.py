import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import class_separation, effective_rank, lidar, map_2d


def slow_effective_rank(features):
    sigma = np.linalg.svd(features, compute_uv=False)
    p = sigma / sigma.sum()
    return np.exp(-sum(x * np.log(x) for x in p if x > 0))


@pytest.mark.parametrize("shape", [(20, 6), (6, 20), (1, 5), (5, 1)])
def test_effective_rank_is_that_of_the_singular_values(shape):
    features = np.random.default_rng(0).normal(size=shape)
    assert effective_rank(features) == pytest.approx(slow_effective_rank(features), rel=1e-5)


def test_effective_rank_by_hand():
    assert effective_rank(np.eye(7)) == pytest.approx(7)
    assert effective_rank(np.ones([9, 4])) == pytest.approx(1, abs=1e-4)
    # p = (3/4, 1/4): exp(-(.75 log .75 + .25 log .25)) = 4 / 3 ** .75
    assert effective_rank(np.diag([3.0, 1.0])) == pytest.approx(4 / 3**0.75)
    assert effective_rank(np.zeros([3, 2])) == 0


@given(arrays(np.float32, (6, 4), elements=st.floats(-10, 10, width=16)))
def test_effective_rank_keeps_its_range(features):
    rank = effective_rank(features)
    assert rank == 0 or 1 - 1e-6 <= rank <= 4 + 1e-6


def test_class_separation_is_that_of_all_pairs():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 5 + [1] * 3 + [2] * 7)
    features = rng.normal(size=(15, 4)) + 2 * np.eye(3, 4)[labels]
    unit = [row / np.linalg.norm(row) for row in features]

    def distance(k, m):
        pairs = [1 - unit[i] @ unit[j] for i in range(15) for j in range(15) if (labels[i], labels[j]) == (k, m)]
        return np.mean(pairs)

    within = np.mean([distance(k, k) for k in range(3)])
    overall = np.mean([distance(k, m) for k in range(3) for m in range(3)])
    assert class_separation(features, labels) == pytest.approx(1 - within / overall, rel=1e-5)


def test_class_separation_needs_two_directions():
    with pytest.raises(InputError, match="one direction"):
        class_separation(np.ones([4, 3]), [0, 0, 1, 1])


def test_features_must_be_finite():
    for statistic in (effective_rank, map_2d):
        with pytest.raises(InputError, match="`features` must be finite"):
            statistic([[np.nan, 1.0]])


@pytest.mark.parametrize("method", ["pca", "tsne", "auto"])
def test_a_map_keeps_clusters_apart(method):
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    points = map_2d(np.eye(3)[labels] + 0.01 * rng.normal(size=(60, 3)), method=method)
    centres = np.stack([points[labels == label].mean(0) for label in range(3)])
    nearest = np.linalg.norm(points[:, None] - centres, axis=-1).argmin(1)
    np.testing.assert_array_equal(nearest, labels)


@pytest.mark.parametrize("features", [np.ones([1, 4]), np.ones([3, 1]), np.ones([40, 4]), np.zeros([40, 2])])
def test_a_map_of_degenerate_features_is_finite(features):
    points = map_2d(features)
    assert points.shape == (len(features), 2)
    assert np.isfinite(points).all()


def test_unknown_map():
    with pytest.raises(InputError, match="Did you mean 'tsne'"):
        map_2d(np.eye(3), method="t-sne")


def slow_lidar(features, delta):
    """The paper's formula, image by image and view by view."""
    images, views, width = features.shape
    between, within = np.zeros([width, width]), delta * np.eye(width)
    middle = sum(features[i, j] for i in range(images) for j in range(views)) / (images * views)
    for i in range(images):
        mean = sum(features[i, j] for j in range(views)) / views
        between += np.outer(mean - middle, mean - middle) / images
        for j in range(views):
            within += np.outer(features[i, j] - mean, features[i, j] - mean) / (images * views)
    values = np.linalg.eigvals(np.linalg.inv(within) @ between).real  # those of W^-1/2 B W^-1/2
    p = values[values > 1e-12] / values.sum()
    return np.exp(-sum(one * np.log(one) for one in p))


@pytest.mark.parametrize(("images", "views", "width"), [(30, 3, 5), (6, 4, 9), (2, 2, 3)])
def test_lidar_by_a_slow_formula(images, views, width):
    rng = np.random.default_rng(images)
    features = rng.normal(size=(images, 1, width)) * np.arange(1, width + 1) + 0.3 * rng.normal(
        size=(images, views, width)
    )
    for delta in (1e-4, 0.1):
        assert lidar(features, delta=delta) == pytest.approx(slow_lidar(features, delta), rel=1e-6)
    assert 1 <= lidar(features) <= min(images - 1, width)


def test_lidar_does_not_count_what_only_noise_fills():
    rng = np.random.default_rng(0)
    told, noise = rng.normal(size=(200, 1, 2)).repeat(4, axis=1), rng.normal(size=(200, 4, 6))
    features = np.concatenate([told + 0.1 * rng.normal(size=(200, 4, 2)), noise], axis=2)
    assert effective_rank(features.reshape(-1, 8)) > 7.5
    assert lidar(features) < 2.5


def test_lidar_of_images_that_are_all_alike_is_zero_and_one_view_is_refused():
    assert lidar(np.ones([5, 2, 3])) == 0
    for wrong in (np.ones([5, 3]), np.ones([5, 1, 3]), np.ones([1, 5, 3])):
        with pytest.raises(InputError, match=r"`features` must be \[N, V, F\]"):
            lidar(wrong)
    with pytest.raises(InputError, match="`delta` must be > 0"):
        lidar(np.ones([5, 2, 3]), delta=0)
