"""Values that the authors' own code gave for inputs by rule, in float64: `fixtures/method_values.json`."""

import json
import math
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import losses

VALUES = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "method_values.json").read_text())


def sines(*shape, function=np.sin, shift=0.0, step=1.0):
    return function(step * np.arange(math.prod(shape)) + shift).reshape(shape)


def n(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


Z0, Z1 = sines(4, 3), sines(4, 3, function=np.cos)
Z2, Z3 = sines(4, 3, shift=0.5), sines(4, 3, function=np.cos, shift=0.5)
CROPS = (Z0, Z1, Z2, Z3)
B1, B2 = np.split(np.random.RandomState(0).randn(16, 4), 2)
SCORES = sines(5, 4)
PROTOTYPES = n(sines(5, 3, function=np.cos, step=0.7))
QUEUES = [n(sines(8, 3, function=f, shift=1.0)) for f in (np.sin, np.cos)]
TEACHER = [0.5 * sines(4, 3, function=f, shift=1.0) for f in (np.sin, np.cos)]
BANK, OTHER_BANK = (n(sines(8, 3, function=f, shift=0.25)) for f in (np.sin, np.cos))
DRAWN = np.array([[0, 4, 5, 6], [1, 5, 6, 7], [2, 6, 7, 0], [3, 7, 0, 1]])
LOCAL = sines(4, 3, 2, step=0.3).transpose(0, 2, 1)
TARGETS, PREDICTIONS = (3 * sines(2, 3, 4, 4, function=f, step=0.3).transpose(0, 2, 3, 1) for f in (np.sin, np.cos))


def close(found, expected, tolerance=1e-9):
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def value_and_gradients(loss, *inputs):
    tensors = [tf.constant(x, tf.float64) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = loss(*tensors)
    return value, tape.gradient(value, tensors)


def on_two_replicas(strategy, loss, *inputs):
    """What each replica's loss is, with half of the rows of each input."""
    halves = [np.split(x, 2) for x in inputs]
    values = strategy.experimental_distribute_values_from_function(
        lambda context: [tf.constant(half[context.replica_id_in_sync_group]) for half in halves]
    )
    run = tf.function(lambda values: strategy.run(lambda tensors: loss(*tensors), args=(values,)))
    return [np.asarray(value) for value in strategy.experimental_local_results(run(values))]


def pairs(views, large=2):
    """(assigned or teaching view, predicted view): of a large view and any other."""
    return [(i, v) for i in range(large) for v in range(views) if v != i]


# SwAV


@pytest.mark.parametrize(
    ("epsilon", "iterations", "case"),
    [(0.05, 3, "sinkhorn_eps0.05_it3"), (0.5, 3, "sinkhorn_eps0.5_it3"), (0.5, 1, "sinkhorn_eps0.5_it1"),
     (0.05, 100, "sinkhorn_eps0.05_it100"), (0.001, 3, "sinkhorn_eps0.001_it3_log_domain")],
)  # fmt: skip
def test_sinkhorn(epsilon, iterations, case):
    found = losses.sinkhorn(SCORES, epsilon=epsilon, iterations=iterations)
    close(found, VALUES["swav"][case])
    close(tf.reduce_sum(found, axis=1), np.ones(5))
    single = losses.sinkhorn(SCORES.astype(np.float32), epsilon=epsilon, iterations=iterations)
    close(single, VALUES["swav"][case], 1e-3 if epsilon < 0.01 else 1e-4)


def test_sinkhorn_is_dinov2s_at_the_teachers_temperature():
    found = losses.sinkhorn(np.concatenate(TEACHER), epsilon=0.04, iterations=3)
    close(found, VALUES["dinov2"]["sinkhorn_teacher"])


def test_sinkhorn_sees_the_samples_of_all_replicas(two_replicas):
    parts = on_two_replicas(two_replicas, lambda x: losses.sinkhorn(x, epsilon=0.05, iterations=3), sines(6, 4))
    close(np.concatenate(parts), VALUES["swav"]["sinkhorn_2_replicas"])


def swav_loss(*crops, prototypes=PROTOTYPES, queues=((), ())):
    unit = [tf.math.l2_normalize(crop, axis=1) for crop in crops]
    scores = [tf.matmul(z, prototypes, transpose_b=True) for z in unit]
    assigned = []
    for i, queue in enumerate(queues):
        every = scores[i] if not len(queue) else tf.concat([queue @ np.transpose(prototypes), scores[i]], axis=0)
        assigned.append(losses.sinkhorn(every, epsilon=0.05, iterations=3)[-crops[0].shape[0] :])
    both = pairs(len(crops))
    return tf.add_n([losses.swav(scores[v], assigned[i], temperature=0.1) for i, v in both]) / len(both)


def test_swav():
    expected = VALUES["swav"]
    loss, gradients = value_and_gradients(swav_loss, *CROPS)
    close(loss, expected["loss_2+2"])
    close(gradients[0], expected["grad_z0"])
    close(gradients[2], expected["grad_z2"])
    _, (gradient,) = value_and_gradients(lambda c: swav_loss(*CROPS, prototypes=c), PROTOTYPES)
    close(gradient, expected["grad_prototypes"])
    close(swav_loss(Z0, Z1), expected["loss_2"])
    close(swav_loss(*CROPS, queues=QUEUES), expected["loss_2+2_queue"])


def test_swav_of_scores():
    s = [np.clip(b / 4, -1, 1) for b in (B1, B2)]
    q = [losses.sinkhorn(x, epsilon=0.05, iterations=3) for x in s]
    loss = (losses.swav(s[1], q[0], temperature=0.1) + losses.swav(s[0], q[1], temperature=0.1)) / 2
    close(loss, VALUES["swav"]["loss_B"])


def test_swav_on_two_replicas(two_replicas):
    close(on_two_replicas(two_replicas, swav_loss, *CROPS), VALUES["swav"]["loss_2+2_two_replicas"])


# DINO


def dino_loss(*crops, center=(0.0, 0.0, 0.0), teacher=None, teacher_temperature=0.04):
    teacher, both = teacher or TEACHER, pairs(len(crops))
    options = {"student_temperature": 0.1, "teacher_temperature": teacher_temperature}
    terms = [losses.dino(crops[v], teacher[i], tf.constant(center, tf.float64), **options) for i, v in both]
    return tf.add_n(terms) / len(both)


def test_dino():
    expected = VALUES["dino"]
    loss, gradients = value_and_gradients(dino_loss, *CROPS)
    close(loss, expected["loss_step1"])
    close(gradients[0][0], expected["grad_z0_row0_step1"])
    close(gradients[2][0], expected["grad_z2_row0_step1"])
    center = [np.ravel(expected[f"center_after_step{step}"]) for step in (1, 2)]
    close(dino_loss(*CROPS, center=center[0]), expected["loss_step2"])
    close(dino_loss(*CROPS, center=center[1], teacher_temperature=0.07), expected["loss_step3_teacher_T0.07"])


def test_dino_on_two_replicas(two_replicas):
    def loss(z0, z1, z2, z3, t0, t1):
        return dino_loss(z0, z1, z2, z3, teacher=[t0, t1])

    close(on_two_replicas(two_replicas, loss, *CROPS, *TEACHER), VALUES["dino"]["loss_two_replicas"])


def test_koleo():
    expected = VALUES["dinov2"]
    close(losses.koleo(Z0), expected["koleo_z0"])
    loss, (gradient,) = value_and_gradients(losses.koleo, np.concatenate([B1, B2]))
    close(loss, expected["koleo_B"])
    close(gradient[0], expected["koleo_B_grad_row0"])
    close(losses.koleo(np.ones((4, 3))), 17.4156282052, 1e-9)


# Siamese networks, redundancy, decoupling, neighbours


def test_simsiam_is_half_of_both_negative_cosines():
    def loss(p1, p2):
        return (losses.negative_cosine(p1, Z3) + losses.negative_cosine(p2, Z2)) / 2

    value, gradients = value_and_gradients(loss, Z0, Z1)
    close(value, VALUES["simsiam"]["loss"])
    close(gradients[0][0], VALUES["simsiam"]["grad_p1_row0"])


def test_vicreg():
    expected = VALUES["vicreg"]
    loss, gradients = value_and_gradients(losses.vicreg, Z0, Z1)
    close(loss, expected["loss_A"])
    close(gradients[0][0], expected["grad_z0_row0"])
    _, parts = losses.vicreg(Z0, Z1, with_metrics=True)
    close([parts[name] for name in ("invariance", "variance", "covariance")], expected["parts_A"])
    close(losses.vicreg(B1, B2), expected["loss_B"])
    close(losses.vicreg(Z0, Z1, variance=50.0), expected["loss_A_solo"])  # which does not halve it


def test_vicreg_on_two_replicas(two_replicas):
    close(on_two_replicas(two_replicas, losses.vicreg, B1, B2), VALUES["vicreg"]["loss_B_two_replicas"])


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_dcl_is_half_of_the_sum_of_directions(temperature):
    expected = VALUES["dcl"]
    close(2 * losses.dcl(Z0, Z1, temperature=temperature), expected[f"sym_A_T{temperature}"])
    close(2 * losses.dcl(B1, B2, temperature=temperature), expected[f"sym_B_T{temperature}"])
    close(2 * losses.dcl(B1, B2, temperature=temperature, sigma=0.5), expected[f"dclw_sym_B_T{temperature}"])


def test_nnclr():
    rows = [[int(row) for row in neighbours] for neighbours in VALUES["nnclr"]["neighbours"]]
    for z, own in zip((n(Z0), n(Z1)), rows, strict=True):
        np.testing.assert_array_equal(np.argmax(z @ BANK.T, axis=1), own)
    first, second = (BANK[own] for own in rows)
    loss = (losses.nnclr(first, Z3, temperature=0.1) + losses.nnclr(second, Z2, temperature=0.1)) / 2
    close(loss, VALUES["nnclr"]["loss"])


@pytest.mark.parametrize("neighbours", [5, 8])
def test_local_aggregation(neighbours):
    clusters = np.array([[0, 1, 2, 3, 0, 1, 2, 3], [0, 1, 2, 3, 3, 2, 1, 0]])
    loss = losses.local_aggregation(Z0, BANK, range(4), clusters, temperature=0.07, num_neighbours=neighbours)
    close(loss, VALUES["local_aggregation"][f"loss_k{neighbours}"])


# Local against global features


def test_deep_infomax():
    expected = VALUES["dim"]
    loss, (_, gradient) = value_and_gradients(losses.deep_infomax, Z0, LOCAL)
    close(loss, expected["jsd"])
    close(np.transpose(gradient[0]), expected["jsd_grad_local_image0"])
    close(losses.deep_infomax(Z0, LOCAL, measure="info_nce"), expected["infonce_exact"])


@pytest.mark.parametrize("clip", [10, 20])
def test_amdim(clip):
    expected = VALUES["amdim"]
    loss, (gradient, _) = value_and_gradients(lambda z, local: losses.amdim(z, local, clip=clip), Z0, LOCAL)
    close(loss, expected[f"g2l_tclip{clip}"])
    close(gradient[0], expected[f"grad_row0_tclip{clip}"])
    close(losses.amdim(Z0, LOCAL, clip=clip, score_penalty=0.05) - loss, expected[f"reg_tclip{clip}"])
    close(losses.amdim(100 * Z0, LOCAL, clip=clip), expected[f"g2l_x100_tclip{clip}"])


def test_cpc():
    found = [losses.cpc(PREDICTIONS, TARGETS, offset=k) for k in (1, 2, 3)]
    close(found, VALUES["cpc"]["offsets_scale1"])
    scaled = [losses.cpc(0.1 * PREDICTIONS, TARGETS, offset=k) for k in (1, 2, 3)]
    close(scaled, [VALUES["cpc"][f"offset{k}"] for k in (1, 2, 3)])


# Memory banks


def keys(bank):
    return {"positives": bank[DRAWN[:, 0]], "negatives": bank[DRAWN[:, 1:]], "temperature": 0.07, "bank_size": 8}


def test_nce():
    """CMC's, PIRL's and instance discrimination's, each with the epsilon of its code."""
    cmc, pirl = VALUES["cmc"], VALUES["pirl"]
    z_l, z_ab = map(math.log, cmc["Z_l,Z_ab"])
    close(losses.nce(Z0, **keys(OTHER_BANK), log_normalizer=z_l, epsilon=1e-7), cmc["nce_l"])
    close(losses.nce(Z1, **keys(BANK), log_normalizer=z_ab, epsilon=1e-7), cmc["nce_ab"])
    small = float(np.finfo(np.float32).eps)
    options = {**keys(BANK), "log_normalizer": math.log(pirl["nce_Z"]), "epsilon": small}
    close((losses.nce(Z0, **options) + losses.nce(Z1, **options)) / 2, pirl["nce"])
    z = math.log(8 * np.mean(np.exp(np.einsum("bd,bmd->bm", n(Z0), BANK[DRAWN]) / 0.07)))
    close(losses.nce(Z0, **keys(BANK), log_normalizer=z, epsilon=1e-7), VALUES["instdisc"]["nce"])


def test_info_nce_against_drawn_entries():
    """PIRL's and CMC's."""
    own, drawn = DRAWN[:, 0], DRAWN[:, 1:]

    def loss(z, bank):
        return losses.instance_info_nce(z, tf.constant(bank), own, drawn, temperature=0.07)

    value, (gradient, _) = value_and_gradients(lambda image, tiles: (loss(image, BANK) + loss(tiles, BANK)) / 2, Z0, Z1)
    close(value, VALUES["pirl"]["infonce"])
    close(gradient[0], VALUES["pirl"]["grad_image_row0"], 1e-8)
    close(loss(tf.constant(Z0), OTHER_BANK) + loss(tf.constant(Z1), BANK), VALUES["cmc"]["softmax_total"])


# Two towers


def test_sim_cse():
    expected = VALUES["simcse"]
    loss, gradients = value_and_gradients(lambda a, b: losses.sim_cse(a, b, temperature=0.05), Z0, Z1)
    close(loss, expected["unsup"])
    close(gradients[0][0], expected["unsup_grad_z0_row0"])
    for weight in (0, 1):
        found = losses.sim_cse(Z0, Z1, temperature=0.05, hard_negatives=Z2, hard_negative_weight=weight)
        close(found, expected[f"sup_w{weight}"])


def test_dpr():
    expected = VALUES["dpr"]
    loss, gradients = value_and_gradients(lambda q, c, h: losses.dpr(q, c, hard_negatives=h), Z0, Z1, Z2)
    close(loss, expected["loss"])
    close(gradients[0][0], expected["grad_z0_row0"])
    close(losses.dpr(Z0, Z1), expected["loss_in_batch"])


def test_clip():
    expected = VALUES["clip"]
    loss, gradients = value_and_gradients(lambda a, b: losses.clip(a, b, temperature=0.07), Z0, Z1)
    close(loss, expected["A_1/0.07"])
    close(gradients[0][0], expected["grad_z0_row0"])
    close(losses.clip(Z0, Z1, temperature=0.01), expected["A_100"])
    close(losses.clip(Z0, Z1, temperature=1), expected["A_1"])
    close(losses.clip(B1, B2, temperature=0.07), expected["B_1/0.07"])
    _, (gradient,) = value_and_gradients(lambda t: losses.clip(Z0, Z1, temperature=tf.exp(-t)), math.log(1 / 0.07))
    close(gradient, expected["grad_log_scale"])


def test_clip_on_two_replicas(two_replicas):
    parts = on_two_replicas(two_replicas, lambda a, b: losses.clip(a, b, temperature=0.07), Z0, Z1)
    close(parts, [3.3596407285, 3.3577876812])


def test_siglip():
    expected = VALUES["siglip"]
    for scale, bias, case in [(10, -10, "A_t10_b-10"), (10, -2.71, "A_t10_b-2.71"), (1, 0, "A_t1_b0")]:
        close(losses.siglip(Z0, Z1, scale=scale, bias=bias), expected[case])
    close(losses.siglip(B1, B2, scale=10, bias=-10), expected["B_t10_b-10"])
    _, gradients = value_and_gradients(lambda t, b: losses.siglip(Z0, Z1, scale=tf.exp(t), bias=b), math.log(10), -10.0)
    close(gradients, expected["grad_tprime_b"])


def test_infomins_image_and_tiles_have_one_key_and_queue():
    # PyContrast's mem_moco.py, run in float64: the terms, and their sum at beta .5.
    image, tiles = (losses.info_nce(n(q), n(Z1), BANK, temperature=0.15) for q in (Z0, Z2))
    close([image, tiles], [7.37051182399344, 3.8562522946628])
    close((image + tiles) / 2, 5.61338205932812)
