"""The tiled form of the row softmax equals the dense one, and is chosen by size."""

import numpy as np
import pytest
import tensorflow as tf

from tests.losses.oracles import CASES
from tests.losses.test_against_oracles import make_inputs, value_and_gradients
from tfcontrastive import losses
from tfcontrastive.losses import row_softmax

TILED = ["nt_xent", "nt_xent_memory", "info_nce", "symmetric_info_nce", "sup_con", "uniformity", "instance_softmax"]
# Logits in a block: one row; some rows, where the last block is not full; more than there are.
TILES = [1, 40, 10**6]


@pytest.fixture
def tile(monkeypatch):
    def use(size):
        monkeypatch.setattr(row_softmax, "DENSE_LIMIT", 0)
        monkeypatch.setattr(row_softmax, "TILE", size)

    return use


def assert_same(found, expected, rtol, atol):
    np.testing.assert_allclose(found[0], expected[0], rtol=rtol)
    for gradient, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(gradient, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("name", TILED)
@pytest.mark.parametrize("size", TILES)
def test_value_and_gradient_equal_the_dense_form(name, size, tile):
    case, inputs = CASES[name], make_inputs(name)
    dense = value_and_gradients(case, inputs)
    tile(size)
    assert_same(value_and_gradients(case, inputs), dense, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["nt_xent", "info_nce", "sup_con"])
def test_compiles_with_xla(name, tile):
    case, inputs = CASES[name], make_inputs(name, np.float32)
    dense = value_and_gradients(case, inputs)
    tile(40)
    compiled = tf.function(lambda inputs: value_and_gradients(case, inputs), jit_compile=True)
    assert_same(compiled({key: tf.constant(x) for key, x in inputs.items()}), dense, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["nt_xent", "symmetric_info_nce", "sup_con"])
def test_two_replicas_equal_one_device(name, tile, two_replicas):
    case, inputs = CASES[name], make_inputs(name)
    dense = value_and_gradients(case, inputs)
    tile(40)
    values = {
        key: two_replicas.experimental_distribute_values_from_function(
            lambda context, x=x: tf.constant(np.split(x, 2)[context.replica_id_in_sync_group])
        )
        for key, x in inputs.items()
    }

    @tf.function
    def step(values):
        return two_replicas.run(lambda inputs: value_and_gradients(case, inputs, replicas=2), args=(values,))

    found, gradients = step(values)
    local = two_replicas.experimental_local_results
    together = [np.concatenate(local(gradient)) for gradient in gradients]
    assert_same((np.mean(local(found)), together), dense, rtol=1e-9, atol=1e-12)


def test_metrics_equal_the_dense_form(tile):
    inputs = make_inputs("nt_xent_memory")
    _, dense = losses.nt_xent(**inputs, temperature=0.2, with_metrics=True)
    tile(40)
    _, tiled = losses.nt_xent(**inputs, temperature=0.2, with_metrics=True)
    for name, value in dense.items():
        np.testing.assert_allclose(tiled[name], value, rtol=1e-10)


def widest_matrix(function, *arguments):
    """The number of elements of the largest tensor in a graph and in the functions it calls."""
    graph = tf.function(function).get_concrete_function(*arguments).graph
    graphs = [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]
    shapes = [out.shape for g in graphs for op in g.get_operations() for out in op.outputs]
    return max(shape.num_elements() or 0 for shape in shapes if shape.rank is not None)


def test_a_large_batch_is_tiled_by_itself():
    rows = tf.TensorSpec([16_384, 8])
    queue = tf.TensorSpec([65_536, 8])

    def gradient(z1, z2):
        with tf.GradientTape() as tape:
            tape.watch(z1)
            loss = losses.nt_xent(z1, z2, temperature=0.1)
        return tape.gradient(loss, z1)

    def against_queue(q, queue):
        return losses.info_nce(q, q, queue, temperature=0.1)

    assert widest_matrix(gradient, rows, rows) == row_softmax.TILE
    assert widest_matrix(against_queue, rows, queue) == row_softmax.TILE
    small = tf.TensorSpec([4096, 8])
    assert widest_matrix(gradient, small, small) == 8192**2  # dense, as it fits
