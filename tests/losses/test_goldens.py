"""Values that the original implementations print for fixed inputs."""

import doctest
import importlib
import math

import numpy as np
import pytest
import tensorflow as tf

from tfcontrastive import losses

# Fixture A: four rows of three, float64; fixture B: two views of eight rows of four, float32.
A1 = np.sin(np.arange(12.0)).reshape(4, 3)
A2 = np.cos(np.arange(12.0)).reshape(4, 3)
A3 = np.sin(np.arange(12.0) + 0.5).reshape(4, 3)
B1, B2 = np.split(np.random.RandomState(0).randn(16, 4).astype(np.float32), 2)


@pytest.mark.parametrize(("temperature", "value"), [(0.5, 2.3373525958591), (0.1, 9.0731587518327)])
def test_nt_xent_is_the_mean_over_both_views(temperature, value):
    np.testing.assert_allclose(losses.nt_xent(A1, A2, temperature=temperature), value, rtol=1e-12)


def test_nt_xent_gradient():
    z1 = tf.constant(A1)
    with tf.GradientTape() as tape:
        tape.watch(z1)
        loss = losses.nt_xent(z1, A2, temperature=0.5)
    np.testing.assert_allclose(tape.gradient(loss, z1)[0], [-0.33523275, -0.16711399, 0.1546486], atol=1e-8)


@pytest.mark.parametrize(("temperature", "value"), [(0.1, 21.437674), (0.5, 7.108462), (1.0, 6.037920)])
def test_nt_xent_is_half_of_the_sum_of_directions(temperature, value):
    np.testing.assert_allclose(2 * losses.nt_xent(B1, B2, temperature=temperature), value, rtol=2e-7)


def test_nt_xent_without_normalisation():
    np.testing.assert_allclose(2 * losses.nt_xent(B1, B2, temperature=1.0, normalize=False), 10.405642, rtol=2e-7)


def test_nt_xent_of_equal_rows_is_the_log_of_the_candidates():
    z = np.ones((8, 4), np.float32)
    np.testing.assert_allclose(2 * losses.nt_xent(z, z, temperature=1.0), 2 * math.log(15), rtol=2e-7)


def test_nt_xent_of_two_replicas(two_replicas):
    def views(context):
        own = slice(4 * context.replica_id_in_sync_group, 4 * context.replica_id_in_sync_group + 4)
        return tf.constant(B1[own]), tf.constant(B2[own])

    values = two_replicas.experimental_distribute_values_from_function(views)
    run = tf.function(lambda v: two_replicas.run(lambda z: losses.nt_xent(*z, temperature=0.1), args=(v,)))
    replicas = two_replicas.experimental_local_results(run(values))
    np.testing.assert_allclose([2 * value for value in replicas], [19.413538, 23.461807], rtol=2e-7)


@pytest.mark.parametrize(("temperature", "value"), [(1.0, 5.4248494863), (0.2, 1.3034303932)])
def test_symmetric_info_nce(temperature, value):
    loss = losses.symmetric_info_nce(A1, A2, A1, A2, temperature=temperature)
    np.testing.assert_allclose(loss, value, rtol=1e-10)


def test_sup_con_has_the_mean_over_positives_outside_the_log():
    views = np.stack([A1, A2, A3], axis=1)
    np.testing.assert_allclose(losses.sup_con(views, np.arange(4), temperature=0.2), 3.09771, rtol=2e-6)


@pytest.mark.parametrize(
    "module",
    ["nt_xent", "info_nce", "relic", "sup_con", "regression", "redundancy", "distillation", "geometry", "instdisc"],
)
def test_examples_in_docstrings(module):
    found = importlib.import_module(f"tfcontrastive.losses.{module}")
    failed, tried = doctest.testmod(found, extraglobs={"tf": tf})
    assert tried
    assert not failed
