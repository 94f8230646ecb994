"""Methods that cluster a memory of every image: k-means, the authors' values, and when clusters are made anew."""

import numpy as np
import pytest
import tensorflow as tf

from tests.methods.test_clusters import CROPS, VALUES, crops, make, sines, unit
from tfcontrastive.config import InputError
from tfcontrastive.methods import METHODS, k_means

BANK = unit(sines(np.sin, 0.25, 24))
CLUSTERS = np.array([[0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 3, 3, 2, 1, 0]])
B1, B2 = (unit(part) for part in np.split(np.random.RandomState(0).randn(16, 4), 2))


def slow_k_means(rows, centroids, iterations):
    centroids = np.array(centroids)

    def closest():
        return np.array([np.argmin([np.sum((row - center) ** 2) for center in centroids]) for row in rows])

    for _ in range(iterations):
        assignments = closest()
        for k in set(assignments):
            centroids[k] = rows[assignments == k].mean(axis=0)
    return centroids, closest()


@pytest.mark.parametrize("tile", [k_means.TILE, 12])
def test_k_means_is_the_slow_loop_in_tiles_too(tile, monkeypatch):
    monkeypatch.setattr(k_means, "TILE", tile)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((25, 3)) + rng.integers(0, 3, (25, 1))
    start = np.concatenate([rows[:4], [[90.0, 90.0, 90.0]]])  # the last of them stays without rows
    centroids, assignments = k_means.k_means(tf.constant(rows), tf.constant(start), iterations=4)
    expected = slow_k_means(rows, start, 4)
    np.testing.assert_allclose(centroids, expected[0], rtol=1e-10)
    np.testing.assert_array_equal(assignments, expected[1])
    np.testing.assert_array_equal(centroids[-1], start[-1])


def test_first_rows_differ_and_depend_on_the_seed():
    found = [k_means.first_rows(50, 20, tf.constant([seed, 3])).numpy() for seed in (1, 1, 2)]
    assert len(set(found[0])) == 20
    np.testing.assert_array_equal(found[0], found[1])
    assert set(found[0]) != set(found[2])


def local_aggregation(**settings):
    options = {"bank_size": 8, "num_neighbours": 5, "num_clusterings": 2, "num_clusters": 3, "instance_steps": 1}
    model = make("local_aggregation", proj_out_dim=3, clustering_steps=2, **{**options, **settings})
    model.bank.assign(BANK)
    return model


def test_local_aggregations_step_is_the_authors():
    model = local_aggregation()
    model.clusters.assign(CLUSTERS)
    model.optimizer.iterations.assign(1)
    views, index = crops([CROPS[0], CROPS[0]]), tf.range(4)
    loss, metrics, _ = model.views_loss(views, training=True, index=index)
    np.testing.assert_allclose(loss, VALUES["local_aggregation"]["loss_k5"], rtol=1e-5)
    assert 1 <= metrics["close_neighbours"] <= 3
    np.testing.assert_allclose(model.bank[:4], unit(BANK[:4] + unit(CROPS[0])), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.bank[4:], tf.constant(BANK[4:], tf.float32))


def test_the_bank_is_clustered_after_the_first_steps_and_then_every_few():
    model, seen = local_aggregation(instance_steps=2), []
    for step in range(6):
        model.optimizer.iterations.assign(step)
        model.clusters.assign(np.full((2, 8), -1))
        model.on_weights_updated()
        seen.append(np.array(model.clusters))
    assert [step for step, clusters in enumerate(seen) if np.all(clusters >= 0)] == [2, 4]
    assert np.all(seen[3] == -1)
    seeds = [tf.constant([0, 2 * 2 + number], tf.int64) for number in range(2)]
    for found, seed in zip(seen[2], seeds, strict=True):
        start = BANK[k_means.first_rows(8, 3, seed).numpy()]
        np.testing.assert_array_equal(found, slow_k_means(BANK, start, 20)[1])


@pytest.mark.parametrize("name", ["num_neighbours", "num_clusters"])
def test_a_bank_smaller_than_what_is_asked_of_it_is_refused(name):
    with pytest.raises(InputError, match=f"`{name}` must be at most bank_size, 8. Received: {name}=9"):
        local_aggregation(**{name: 9})
    with pytest.raises(InputError, match="`bank_size` must hold every training image, 9"):
        METHODS["local_aggregation"].check(
            METHODS["local_aggregation"].Config(bank_size=8, num_neighbours=4, num_clusters=2),
            batch_size=4, replicas=1, num_examples=9,
        )  # fmt: skip


# What the authors' code makes of the banks B1 and B2, two heads of three centroids that start from the first rows.
HEADS = [
    ([0, 1, 2, 0, 1, 2, 1, 0],
     [[0.758827281501328, 0.340996633544955, 0.312500300028962, 0.458525915562165],
      [0.874795186936385, -0.377532005236371, 0.212102862902168, -0.21729091440703],
      [-0.712085637582205, 0.370177909822815, 0.294459927772408, 0.518840737379618]]),
    ([0, 1, 2, 2, 2, 0, 1, 0],
     [[-0.470179332056138, -0.826021151095229, -0.24400375111456, -0.192568489355298],
      [0.436203158685856, 0.595482089820989, -0.574314920650728, -0.353963637924657],
      [-0.535072143635365, -0.29809673455375, -0.638494537835144, 0.466005217898398]]),
]  # fmt: skip
DEEP_CLUSTER_LOSS = 2.37506234401484


@pytest.mark.parametrize(("bank", "expected"), zip((B1, B2), HEADS, strict=True))
def test_spherical_k_means_is_the_authors(bank, expected):
    centroids, assignments = k_means.k_means(tf.constant(bank), tf.constant(bank[:3]), iterations=10, spherical=True)
    np.testing.assert_array_equal(assignments, expected[0])
    np.testing.assert_allclose(centroids, expected[1], rtol=1e-12)


def deepcluster_v2(monkeypatch, **settings):
    """Of B1's and B2's width, whose first rows are the first centroids."""
    options = {"bank_size": 8, "num_prototypes": 3, "num_clusterings": 2, "clustering_steps": 2, "proj_out_dim": 4}
    model = make("deepcluster_v2", **{**options, **settings})
    model.encode_views = lambda network, views, training: tf.concat([view[:, 0, 0] for view in views], axis=0)
    monkeypatch.setattr(
        "tfcontrastive.methods.deepcluster_v2.first_rows", lambda size, count, seed, present: tf.range(count)
    )
    return model


def pixels(rows):
    return tf.constant(rows[:, None, None], tf.float32)


def test_deepcluster_v2s_clusters_and_loss_are_the_authors(monkeypatch):
    model = deepcluster_v2(monkeypatch)
    views, index = [pixels(B1), pixels(B2)], tf.range(8)
    model.views_loss(views, training=True, index=index)
    model.optimizer.iterations.assign(2)
    model.on_weights_updated()
    np.testing.assert_array_equal(model.assignments, [assignments for assignments, _ in HEADS])
    np.testing.assert_allclose(model.centroids, np.concatenate([head for _, head in HEADS]), rtol=1e-5, atol=1e-6)
    assert not np.any(model.seen)
    loss, metrics, _ = model.views_loss(views, training=False, index=index)
    np.testing.assert_allclose(loss, DEEP_CLUSTER_LOSS, rtol=1e-5)
    assert 0.5 < metrics["assignment_acc"] < 1
    small = model.views_loss([*views, pixels(B1[:, None][:, 0])], training=False, index=index).loss
    assert small != loss  # all crops count


def test_images_that_were_in_no_batch_have_no_cluster_and_count_for_nothing(monkeypatch):
    model = deepcluster_v2(monkeypatch, num_clusterings=1)
    seen = np.array([0, 1, 2, 3, 5])
    model.views_loss([pixels(B1[seen]), pixels(B2[seen])], training=True, index=tf.constant(seen))
    model.optimizer.iterations.assign(2)
    model.on_weights_updated()
    assert np.flatnonzero(model.assignments[0].numpy() == -100).tolist() == [4, 6, 7]
    rows = B1[seen]
    expected = k_means.k_means(tf.constant(rows), tf.constant(rows[:3]), iterations=10, spherical=True)[0]
    np.testing.assert_allclose(model.centroids, expected, rtol=1e-5, atol=1e-6)
    some = model.views_loss([pixels(B1[3:6]), pixels(B2[3:6])], training=False, index=tf.range(3, 6)).loss
    known = np.array([3, 5])
    of_known = model.views_loss([pixels(B1[known]), pixels(B2[known])], training=False, index=tf.constant(known)).loss
    np.testing.assert_allclose(some, of_known, rtol=1e-6)
    with pytest.raises(InputError, match=r"`num_prototypes` must be at most bank_size, 8\. Received: num_prototypes=9"):
        deepcluster_v2(monkeypatch, num_prototypes=9)
