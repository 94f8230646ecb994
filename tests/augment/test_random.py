import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfcontrastive.augment import bernoulli, row_seeds, uniform

N = 20_000


@pytest.fixture(scope="module")
def counters() -> tf.Tensor:
    """Consecutive rows under one first word: the hardest case for a hash, and the usual one."""
    return tf.stack([tf.fill([N], 5), tf.range(N)], axis=1)


def test_numbers_are_uniform(counters):
    u = uniform(counters, "blur", 3).numpy()
    assert u.shape == (N, 3)
    assert u.min() >= 0
    assert u.max() < 1
    assert np.all(np.abs(u.mean(0) - 0.5) < 4 / np.sqrt(12 * N))
    assert np.all(np.abs(u.var(0) - 1 / 12) < 0.002)
    assert all(stats.kstest(u[:, i], "uniform").pvalue > 1e-3 for i in range(3))


def test_first_seed_word_gives_uniform_numbers_too():
    rows = tf.stack([tf.range(N), tf.fill([N], 5)], axis=1)
    assert stats.kstest(uniform(rows, "blur", 1).numpy()[:, 0], "uniform").pvalue > 1e-3


def test_neighbours_names_indices_and_words_are_uncorrelated(counters):
    blur, other = uniform(counters, "blur", 2).numpy(), uniform(counters, "color", 1).numpy()
    swapped = uniform(counters[:, ::-1], "blur", 1).numpy()
    pairs = [
        (blur[1:, 0], blur[:-1, 0]),
        (blur[:, 0], blur[:, 1]),
        (blur[1:, 0], blur[:-1, 1]),
        (blur[:, 0], other[:, 0]),
        (blur[:, 0], swapped[:, 0]),
    ]
    for x, y in pairs:
        assert abs(np.corrcoef(x, y)[0, 1]) < 5 / np.sqrt(N)


def test_pairs_of_numbers_fill_the_square(counters):
    u = uniform(counters, "blur", 2).numpy()
    cells = np.histogram2d(u[:, 0], u[:, 1], bins=10)[0]
    assert stats.chisquare(cells.ravel()).pvalue > 1e-3


def test_high_and_low_bits_are_balanced(counters):
    bits = (uniform(counters, "blur", 1).numpy()[:, 0] * 2**24).astype(np.int64)
    for position in range(24):
        assert abs(np.mean(bits >> position & 1) - 0.5) < 5 / (2 * np.sqrt(N))


def test_a_number_depends_on_its_row_alone(counters):
    whole = uniform(counters[:8], "blur", 4)
    alone = uniform(counters[3:4], "blur", 4)
    np.testing.assert_array_equal(whole[3], alone[0])


def test_fewer_numbers_are_a_prefix_of_more(counters):
    np.testing.assert_array_equal(uniform(counters[:8], "blur", 2), uniform(counters[:8], "blur", 5)[:, :2])


def test_numbers_never_change():
    # Resumed runs and published results depend on these.
    u = uniform(tf.constant([[0, 0], [1, -1]]), "blur", 2)
    np.testing.assert_array_equal((u.numpy() * 2**24).astype(int), [[4783452, 10182697], [13100669, 3906988]])


def test_xla_gives_the_same_numbers(counters):
    compiled = tf.function(lambda s: uniform(s, "blur", 3), jit_compile=True)
    np.testing.assert_array_equal(compiled(counters[:16]), uniform(counters[:16], "blur", 3))


@pytest.mark.parametrize("probability", [0.0, 0.2, 1.0])
def test_bernoulli_has_its_probability(counters, probability):
    assert abs(np.mean(bernoulli(counters, "flip", probability)) - probability) <= 0.012


def test_row_seeds_are_all_different():
    seeds = [row_seeds(seed, tf.constant(step), tf.range(64), 3) for seed in (0, 1) for step in (0, 1)]
    rows = np.reshape(np.stack(seeds), [-1, 2])
    assert len(np.unique(rows, axis=0)) == 2 * 2 * 64 * 3


def test_row_seeds_of_a_half_batch_are_those_of_the_whole():
    whole = row_seeds(7, tf.constant(3), tf.range(8), 2)
    half = row_seeds(7, tf.constant(3), tf.range(4) + 4, 2)
    np.testing.assert_array_equal(whole[4:], half)


def test_views_of_row_seeds_are_uncorrelated():
    seeds = row_seeds(0, tf.constant(0), tf.range(N), 2)
    first, second = (uniform(seeds[:, i], "crop", 1).numpy()[:, 0] for i in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 5 / np.sqrt(N)
