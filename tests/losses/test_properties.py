"""What the losses mean: symmetries, relations between them, metrics, limits, and refused input."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tfcontrastive import losses
from tfcontrastive.config import InputError

SEEDS = st.integers(0, 2**32 - 2)
FEW = settings(max_examples=20, deadline=None)


def draw(seed, *shape):
    return np.random.RandomState(seed).randn(*shape)


def rotation(seed, width):
    return np.linalg.qr(draw(seed, width, width))[0]


def pairwise(z1, z2):
    """Losses of two views alone, by name."""
    labels = np.arange(len(z1))
    return {
        "nt_xent": losses.nt_xent(z1, z2, temperature=0.4),
        "symmetric_info_nce": losses.symmetric_info_nce(z1, z2, z1, z2, temperature=0.4),
        "relic": losses.relic(z1, z2, z1, z2, temperature=0.4, alpha=0.5),
        "sup_con": losses.sup_con(np.stack([z1, z2], axis=1), labels // 2, temperature=0.4),
        "negative_cosine": losses.negative_cosine(z1, z2),
    }


def assert_equal(found, expected):
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, err_msg=name)


@FEW
@given(seed=SEEDS)
def test_rotating_all_embeddings_changes_nothing(seed):
    z1, z2 = draw(seed, 2, 6, 4)
    turn = rotation(seed, 4)
    assert_equal(pairwise(z1 @ turn, z2 @ turn), pairwise(z1, z2))


@FEW
@given(seed=SEEDS, scale=st.floats(1e-3, 1e3))
@example(seed=0, scale=1e-9)
def test_the_length_of_an_embedding_does_not_matter(seed, scale):
    z1, z2 = draw(seed, 2, 6, 4)
    scales = np.where(np.arange(6) % 2, scale, 1)[:, None]
    assert_equal(pairwise(z1 * scales, z2), pairwise(z1, z2))


@FEW
@given(seed=SEEDS)
def test_the_order_of_the_views_does_not_matter(seed):
    z1, z2 = draw(seed, 2, 6, 4)
    assert_equal(pairwise(z2, z1), pairwise(z1, z2))


@FEW
@given(seed=SEEDS)
def test_the_order_of_pairs_does_not_matter(seed):
    z1, z2 = draw(seed, 2, 6, 4)
    order = np.random.RandomState(seed).permutation(3)
    order = np.stack([2 * order, 2 * order + 1], axis=1).ravel()  # sup_con's labels go in twos
    assert_equal(pairwise(z1[order], z2[order]), pairwise(z1, z2))


@FEW
@given(seed=SEEDS)
def test_sup_con_of_images_that_are_all_different_is_nt_xent(seed):
    z1, z2 = draw(seed, 2, 5, 3)
    supervised = losses.sup_con(np.stack([z1, z2], axis=1), np.arange(5) * 7 - 3, temperature=0.3)
    np.testing.assert_allclose(supervised, losses.nt_xent(z1, z2, temperature=0.3), rtol=1e-10)


@FEW
@given(seed=SEEDS)
def test_relic_without_penalty_is_symmetric_info_nce(seed):
    z1, z2 = draw(seed, 2, 5, 3)
    relic = losses.relic(z1, z2, z1, z2, temperature=0.3, alpha=0)
    symmetric = losses.symmetric_info_nce(z1, z2, z1, z2, temperature=0.3)
    np.testing.assert_allclose(4 * 0.3 * relic, symmetric, rtol=1e-10)


@FEW
@given(seed=SEEDS)
def test_relics_penalty_is_zero_for_equal_views_and_never_negative(seed):
    z1, z2 = draw(seed, 2, 5, 3)
    for direction in ("forward", "reverse"):
        options = {"temperature": 0.3, "alpha": 1, "direction": direction, "with_metrics": True}
        assert losses.relic(z1, z2, z1, z2, **options)[1]["invariance"] > 0
        np.testing.assert_allclose(losses.relic(z1, z1, z1, z1, **options)[1]["invariance"], 0, atol=1e-12)


@FEW
@given(seed=SEEDS)
def test_the_memory_of_nt_xent_only_adds_negatives(seed):
    z1, z2 = draw(seed, 2, 5, 3)
    memory = draw(seed + 1, 4, 3)
    assert losses.nt_xent(z1, z2, temperature=0.3, memory=memory) > losses.nt_xent(z1, z2, temperature=0.3)


@FEW
@given(seed=SEEDS, shift=st.floats(-10, 10), scale=st.floats(0.1, 10))
def test_barlow_twins_ignores_the_mean_and_scale_of_a_feature(seed, shift, scale):
    z1, z2 = draw(seed, 2, 8, 3)
    moved = z1 * [scale, 1, 1] + [0, shift, 0]
    found, expected = (losses.barlow_twins(z, z2, off_diagonal_weight=0.1) for z in (moved, z1))
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_barlow_twins_of_a_constant_feature_is_finite():
    z = tf.constant(np.concatenate([np.ones((8, 1)), draw(0, 8, 2)], axis=1), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = losses.barlow_twins(z, z, off_diagonal_weight=0.0)
    np.testing.assert_allclose(loss, 1, rtol=1e-5)  # its correlation is 0, the others' 1
    assert np.isfinite(tape.gradient(loss, z)).all()


def entropy_and_accuracy(logits, labels):
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return -(p * np.log(p)).sum(1).mean(), (logits.argmax(1) == labels).mean()


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def test_metrics_of_nt_xent():
    z1, z2 = draw(3, 2, 6, 3)
    z2 = z1 + 0.4 * z2
    memory = np.concatenate([draw(4, 4, 3), z1[:1] + 0.01])  # the last is nearer to the first row than its positive
    z = unit(np.concatenate([z1, z2]))
    logits = np.concatenate([z @ z.T, z @ unit(memory).T], axis=1) / 0.2
    logits = logits[~np.eye(12, 17, dtype=bool)].reshape(12, 16)
    labels = np.concatenate([np.arange(6) + 5, np.arange(6)])
    _, metrics = losses.nt_xent(z1, z2, temperature=0.2, memory=memory, with_metrics=True)
    entropy, accuracy = entropy_and_accuracy(logits, labels)
    assert 0 < accuracy < 1
    np.testing.assert_allclose(metrics["contrast_entropy"], entropy, rtol=1e-9)
    np.testing.assert_allclose(metrics["contrast_acc"], accuracy)


def test_metrics_of_losses_with_separate_keys():
    q, noise, queue = draw(5, 6, 3), draw(6, 6, 3), draw(7, 8, 3)
    k = q + 0.4 * noise
    within = unit(q) @ unit(k).T / 0.2
    against_queue = np.concatenate([np.diag(within)[:, None], unit(q) @ unit(queue).T / 0.2], axis=1)
    found = {
        "info_nce": losses.info_nce(q, k, queue, temperature=0.2, with_metrics=True)[1],
        "symmetric_info_nce": losses.symmetric_info_nce(q, k, q, k, temperature=0.2, with_metrics=True)[1],
        "relic": losses.relic(q, q, k, k, temperature=0.2, alpha=1, with_metrics=True)[1],
    }
    expected = {name: entropy_and_accuracy(within, np.arange(6)) for name in found}
    expected["info_nce"] = entropy_and_accuracy(against_queue, 0)
    directions = [entropy_and_accuracy(logits, np.arange(6)) for logits in (within, within.T)]
    expected["symmetric_info_nce"] = np.mean(directions, axis=0)
    for name, (entropy, accuracy) in expected.items():
        assert 0 < accuracy < 1
        np.testing.assert_allclose(found[name]["contrast_entropy"], entropy, rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(found[name]["contrast_acc"], accuracy, err_msg=name)


def test_collapsed_embeddings_are_not_called_accurate():
    z = np.ones((8, 4), np.float32)
    _, metrics = losses.nt_xent(z, z, temperature=0.1, with_metrics=True)
    assert metrics["contrast_acc"] == 0
    np.testing.assert_allclose(metrics["contrast_entropy"], math.log(15), rtol=1e-6)


def test_a_key_that_is_left_out_has_no_weight_however_low_the_other_logits_are():
    corners = 100 * np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])  # all other logits are -10,000
    loss = losses.nt_xent(*np.split(corners, 2), temperature=1.0, normalize=False)
    np.testing.assert_allclose(loss, math.log(3), rtol=1e-6)


def test_one_pair_has_no_negatives():
    z = tf.constant([[1.0, 2.0]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss, metrics = losses.nt_xent(z, 2 * z, temperature=0.1, with_metrics=True)
    assert loss == 0
    assert metrics["contrast_entropy"] == 0
    np.testing.assert_array_equal(tape.gradient(loss, z), [[0, 0]])


def test_batch_size_unknown_when_the_graph_is_built():
    z1, z2 = draw(1, 2, 6, 4).astype(np.float32)
    row = tf.TensorSpec([None, 4])
    labels = tf.range(6) // 2

    @tf.function(input_signature=[row, row, tf.TensorSpec([None], tf.int32)])
    def dynamic(z1, z2, labels):
        return (
            losses.nt_xent(z1, z2, temperature=0.3),
            losses.symmetric_info_nce(z1, z2, z1, z2, temperature=0.3),
            losses.relic(z1, z2, z1, z2, temperature=0.3, alpha=1.0),
            losses.sup_con(tf.stack([z1, z2], axis=1), labels, temperature=0.3),
            losses.barlow_twins(z1, z2, off_diagonal_weight=0.1),
            losses.uniformity(z1),
            losses.dcl(z1, z2, temperature=0.3, sigma=0.5),
            losses.vicreg(z1, z2),
            losses.koleo(z1),
            losses.nnclr(z1, z2, temperature=0.3),
            losses.swav(z1, losses.sinkhorn(z2, epsilon=0.5, iterations=2), temperature=0.3),
            losses.deep_infomax(z1, z2[:, None]),
            losses.amdim(z1, z2[:, None]),
            losses.clip(z1, z2, temperature=0.3),
            losses.siglip(z1, z2, scale=2.0, bias=-1.0),
            losses.sim_cse(z1, z2, temperature=0.3, hard_negatives=-z1),
            losses.dpr(z1, z2, hard_negatives=z1),
        )

    known = dynamic.python_function(tf.constant(z1), tf.constant(z2), labels)
    np.testing.assert_allclose(dynamic(z1, z2, labels), known, rtol=1e-6)


def test_gather_false_keeps_to_the_own_replica(two_replicas):
    views = draw(2, 2, 2, 3, 4)
    values = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(views[context.replica_id_in_sync_group])
    )
    run = tf.function(lambda v: two_replicas.run(lambda z: losses.nt_xent(*tf.unstack(z), temperature=0.3,
                                                                         gather=False), args=(v,)))  # fmt: skip
    alone = [losses.nt_xent(*pair, temperature=0.3) for pair in views]
    np.testing.assert_allclose(two_replicas.experimental_local_results(run(values)), alone, rtol=1e-12)


def test_alignment_of_equal_views_has_a_finite_gradient():
    z = tf.constant([[1.0, 0.0], [0.6, 0.8]])
    with tf.GradientTape() as tape:
        tape.watch(z)
        loss = losses.alignment(z, tf.constant([[1.0, 0.0], [0.8, 0.6]]), alpha=1)
    assert np.isfinite(tape.gradient(loss, z)).all()


def test_the_normalizer_of_nce_is_the_size_of_the_bank_times_the_mean_of_the_draws():
    v, bank = tf.constant(draw(0, 4, 3)), draw(1, 9, 3)
    noise = np.random.RandomState(2).randint(0, 9, (4, 5))
    with tf.GradientTape() as tape:
        tape.watch(v)
        found = losses.instance_log_normalizer(v, bank, noise, temperature=0.3)
    logits = [[unit(bank)[j] @ unit(v.numpy())[b] / 0.3 for j in noise[b]] for b in range(4)]
    np.testing.assert_allclose(found, math.log(9 * np.mean(np.exp(logits))), rtol=1e-12)
    assert tape.gradient(found, v) is None


def test_embedding_std_tells_spread_from_collapse():
    np.testing.assert_allclose(losses.embedding_std(draw(0, 4000, 16)), 1 / math.sqrt(16), rtol=0.02)
    np.testing.assert_allclose(losses.embedding_std(draw(0, 1, 16) * np.ones((50, 1))), 0, atol=1e-8)


def test_infonce_bound_is_at_most_log_k():
    assert losses.infonce_bound(0.0, candidates=512) == math.log(512)
    np.testing.assert_allclose(losses.infonce_bound(tf.constant(2.0), candidates=8), math.log(8) - 2, rtol=1e-6)


def test_distillation_of_an_equal_student_is_the_teachers_entropy():
    logits = draw(0, 5, 4)
    p = np.exp(logits / 2) / np.exp(logits / 2).sum(1, keepdims=True)
    entropy = -(p * np.log(p)).sum(1).mean()
    np.testing.assert_allclose(losses.distillation(logits, logits, temperature=2.0), entropy, rtol=1e-12)


Z = np.ones((4, 3), np.float32)
GRID = np.ones((2, 2, 2, 3), np.float32)
REFUSED = {
    "temperature=0": (
        lambda: losses.nt_xent(Z, Z, temperature=0),
        "`temperature` must be > 0. Received: temperature=0",
    ),
    "temperature=-1": (lambda: losses.info_nce(Z, Z, Z, temperature=-1.0), "temperature=-1.0"),
    "temperature=nan": (lambda: losses.sup_con(Z[:, None], [0] * 4, temperature=math.nan), "temperature=nan"),
    "other batch": (lambda: losses.nt_xent(Z, Z[:3], temperature=1), r"z1.shape=\(4, 3\), z2.shape=\(3, 3\)"),
    "rank": (lambda: losses.nt_xent(Z[0], Z[0], temperature=1), "`z1` must have 2 dimensions"),
    "integers": (lambda: losses.negative_cosine(Z.astype(int), Z), "`p` must hold floats. Received: dtype=int64"),
    "queue": (lambda: losses.info_nce(Z, Z, Z[:, :2], temperature=1), "`queue` must have rows of length 3"),
    "queue of a teacher": (
        lambda: losses.similarity_distillation(Z, Z, Z[:, :2], temperature=1, teacher_temperature=1),
        "`queue` must have rows of length 3",
    ),
    "memory": (lambda: losses.nt_xent(Z, Z, temperature=1, memory=Z[0]), "`memory` must have 2 dimensions"),
    "alpha": (lambda: losses.relic(Z, Z, Z, Z, temperature=1, alpha=-0.5), "`alpha` must be >= 0"),
    "direction": (
        lambda: losses.relic(Z, Z, Z, Z, temperature=1, alpha=1, direction="forwards"),
        "Did you mean 'forward'",
    ),
    "weight": (lambda: losses.barlow_twins(Z, Z, off_diagonal_weight=-1), "`off_diagonal_weight` must be >= 0"),
    "labels": (lambda: losses.sup_con(Z[:, None], np.zeros(4), temperature=1), "`labels` must hold integers"),
    "label count": (lambda: losses.sup_con(Z[:, None], [0, 1], temperature=1), r"`labels` must have shape \(4,\)"),
    "one row": (lambda: losses.uniformity(Z[:1]), "at least 2 rows"),
    "power": (lambda: losses.alignment(Z, Z, alpha=0), "`alpha` must be > 0"),
    "candidates": (lambda: losses.infonce_bound(1.0, candidates=0), "`candidates` must be >= 1"),
    "epsilon": (lambda: losses.sinkhorn(Z, epsilon=0, iterations=3), "`epsilon` must be > 0"),
    "iterations": (lambda: losses.sinkhorn(Z, epsilon=1, iterations=0), "`iterations` must be >= 1"),
    "center": (
        lambda: losses.dino(Z, Z, Z[0, :2], student_temperature=1, teacher_temperature=1),
        r"`center` must have the shape \(3,\). Received: center.shape=\(2,\)",
    ),
    "neighbour": (lambda: losses.koleo(Z[:1]), "`x` must have two rows or more"),
    "variance": (lambda: losses.vicreg(Z, Z, variance=-1), "`variance` must be >= 0"),
    "variance of one": (lambda: losses.vicreg(Z[:1], Z[:1]), "`z1` must have two rows or more"),
    "sigma": (lambda: losses.dcl(Z, Z, temperature=1, sigma=0), "`sigma` must be > 0"),
    "one pair": (lambda: losses.dcl(Z[:1], Z[:1], temperature=1), "`z` must have two rows or more"),
    "measure": (lambda: losses.deep_infomax(Z, Z[:, None], measure="dv"), "`measure` must be"),
    "places": (lambda: losses.deep_infomax(Z, Z[:3, None]), r"must have the shape \(4, L, 3\)"),
    "one image": (lambda: losses.amdim(Z[:1], Z[:1, None]), "`features` must have two rows or more"),
    "clip": (lambda: losses.amdim(Z, Z[:, None], clip=0), "`clip` must be > 0"),
    "penalty": (lambda: losses.amdim(Z, Z[:, None], score_penalty=-1), "`score_penalty` must be >= 0"),
    "offset": (lambda: losses.cpc(GRID, GRID, offset=2), "`offset` must be from 1 to 1, in a grid of 2 rows"),
    "grid": (lambda: losses.cpc(GRID, GRID[:, :1], offset=1), "`predictions` must have the shape of `targets`"),
    "noise": (
        lambda: losses.nce(Z, Z, Z, temperature=1, log_normalizer=0.0, bank_size=9),
        r"`negatives` must have the shape \(4, m, 3\)",
    ),
    "scale": (lambda: losses.siglip(Z, Z, scale=0, bias=0), "`scale` must be > 0"),
    "hard negatives": (
        lambda: losses.sim_cse(Z, Z, temperature=1, hard_negatives=Z[:2]),
        "`hard_negatives` must have the shape of `z1`",
    ),
    "passages": (lambda: losses.dpr(Z, Z, hard_negatives=Z[:, :2]), "`hard_negatives` must have rows of length 3"),
    "indices": (lambda: losses.instance_softmax(Z, Z, np.zeros(4), temperature=1), "`indices` must hold integers"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_input_is_named(case):
    call, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        call()
