"""The TPU path as far as it goes without a TPU: its resolver against a stub, and steps that could run on one."""

import types

import pytest
import tensorflow as tf

from tests.methods.cases import ONE_EACH, batches, make_model
from tfcontrastive import distribute
from tfcontrastive.config import InputError

# What asks the host for something in the middle of a step.
HOST_OPS = ("PyFunc", "EagerPyFunc", "PyFuncStateless", "Print", "PrintV2", "ReadFile", "WriteFile", "DecodeImage")
# Shapes that depend on values, which XLA cannot compile for a TPU.
DYNAMIC_OPS = ("Where", "Unique", "UniqueV2", "BooleanMask", "DynamicPartition", "NonMaxSuppressionV5")


@pytest.fixture
def calls(monkeypatch):
    """TensorFlow's TPU functions replaced by ones that write down how they were called."""
    made = []

    def stub(owner, name, answer):
        def call(*args, **kwargs):
            made.append((name, args, kwargs))
            return answer

        monkeypatch.setattr(owner, name, call)

    stub(tf.distribute.cluster_resolver, "TPUClusterResolver", "resolver")
    stub(tf.config, "experimental_connect_to_cluster", None)
    stub(tf.tpu.experimental, "initialize_tpu_system", types.SimpleNamespace(num_tasks=4, num_tpus_per_task=8))
    stub(tf.distribute, "TPUStrategy", "strategy")
    return made


def test_a_named_tpu_is_resolved_connected_initialised_and_used(calls):
    made = distribute.make_strategy("tpu", tpu_name="pod", tpu_zone="zone", gcp_project="project")
    assert made == "strategy"
    assert calls == [
        ("TPUClusterResolver", (), {"tpu": "pod", "zone": "zone", "project": "project"}),
        ("experimental_connect_to_cluster", ("resolver",), {}),
        ("initialize_tpu_system", ("resolver",), {}),
        ("TPUStrategy", ("resolver",), {}),
    ]


def test_the_tpu_of_this_machine_needs_no_connection(calls):
    distribute.make_strategy("tpu", tpu_name="local")
    assert [name for name, _, _ in calls] == ["TPUClusterResolver", "initialize_tpu_system", "TPUStrategy"]


def test_no_tpu_is_one_line():
    with pytest.raises(InputError, match="`strategy=tpu` needs a TPU that can be reached"):
        distribute.make_strategy("tpu")


@pytest.mark.parametrize("case", ONE_EACH)
def test_a_step_asks_nothing_of_the_host_and_has_static_shapes(case):
    model = make_model(case)
    batch = batches(1).element_spec
    graph = tf.function(model.train_step).get_concrete_function(batch).graph.as_graph_def()
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert len(nodes) > 100
    assert not {node.op for node in nodes} & {*HOST_OPS, *DYNAMIC_OPS}
