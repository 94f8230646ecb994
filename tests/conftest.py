"""Two logical CPU devices for the whole test run, so that replicas are tested everywhere and never skipped."""

import gc
import importlib.metadata
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Compiling takes longer than what is compiled: without optimization, without splitting, and without emitters that take most
# of it, where there are some: TensorFlow 2.22 does not know them, and ends a process that names a flag it does not know.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_parallel_codegen_split_count=1"
    + (" --xla_cpu_use_fusion_emitters=false" if importlib.metadata.version("tensorflow") < "2.22" else ""),
)

import tfcontrastive  # noqa: F401, I001  (first, as it turns oneDNN on before TensorFlow is imported)
import hypothesis
import keras
import pytest
import tensorflow as tf
from tensorflow.python.framework.ops import gradient_registry

from tfcontrastive.system import precision

hypothesis.settings.register_profile("untimed", deadline=None)  # no test asserts a time
hypothesis.settings.load_profile("untimed")

# What is imported stays, and graphs are made of millions of objects that live: to look among them for garbage as often as
# Python does takes 6% of the suite's time.
gc.freeze()
gc.set_threshold(100_000, 10, 10)

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


def pytest_xdist_auto_num_workers(config) -> int | None:
    """No workers for a file or a test by name: importing TensorFlow once more in each would take longer than it saves."""
    return 0 if config.args and all(".py" in each for each in config.args) else None


LONGEST = (
    "workers", "commands", "downstream", "test_docstrings.py", "test_examples.py", "test_storage.py", "methods", "export",
    "planning",
)  # fmt: skip


def pytest_collection_modifyitems(items) -> None:
    """What takes longest comes first, so that two workers, who get whole files, end at about the same time."""

    def place(item):
        room = item.path.relative_to(pathlib.Path(__file__).parent).parts[0]
        return LONGEST.index(room) if room in LONGEST else len(LONGEST)

    items.sort(key=place)


@pytest.fixture(scope="module", autouse=True)
def graphs_end_with_their_file():
    """TensorFlow keeps every gradient of its own `tf.custom_gradient`, as sums over replicas have, and with it the graph."""
    yield
    names = [name for name in gradient_registry._registry if name.startswith("CustomGradient-")]
    for name in names:
        del gradient_registry._registry[name]
    if names:
        gc.collect()


@pytest.fixture(autouse=True)
def float32_by_default(monkeypatch):
    """`--mixed_precision=auto` is float32 on every machine: tests are the same everywhere, and fast without bfloat16."""
    monkeypatch.setattr(precision, "fastest", lambda: precision.Precision("float32", "in tests"))


@pytest.fixture
def eagerly():
    """Functions run op by op: a step or two of a small network take a third of the time that tracing them does.

    For tests whose subject is the values. That graphs give the same is what tests/methods/test_conformance.py is about.
    """
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def double():
    """Networks in float64: what differs by more than 1e-9 there is another computation, and not rounding."""
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
