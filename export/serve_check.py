"""One look at an export with the eyes of each of its consumers."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive.export.cpp_session import CppSession
from tfcontrastive.export.warmup import WARMUP
from tfcontrastive.trained import latest_version

PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"}

_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of one check: `passed` is None where a package that it needs is not installed."""

    name: str
    passed: bool | None
    detail: str


def check_export(saved_model: str | os.PathLike) -> list[Check]:
    """Loads an export in every way that is at hand, and compares what each gives with TensorFlow's own loader.

    No check changes the export; one that fails does not stop the others.

    Args:
        saved_model: what `save_model` wrote, or the base of its versions (the highest is checked).

    Returns:
        One `Check` for each consumer.

    Raises:
        InputError: if there is no SavedModel.

    Example:

    ```python
    for check in check_export("exported"):
        print(check.name, check.passed, check.detail)
    ```
    """
    path = latest_version(saved_model)
    return [_run(name, check, path) for name, check in _CHECKS.items()]


def _run(name: str, check: Callable[[str], str], path: str) -> Check:
    try:
        return Check(name, True, check(path))
    except ModuleNotFoundError as error:
        return Check(name, None, f"not run: {error.name} is not installed")
    except Exception as error:  # whatever a consumer raises is the finding
        return Check(name, False, f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"[:300])


class _Failed(Exception):
    """What a check found."""


def _signatures(path: str) -> str:
    loaded = tf.saved_model.load(path)
    missing = {"serving_default", "features", "serve_training"} - set(loaded.signatures)
    if missing:
        raise _Failed(f"missing: {', '.join(sorted(missing))}")
    for name, inputs in _inputs(path):
        for output, value in loaded.signatures[name](**_tensors(inputs)).items():
            if not np.isfinite(value).all():
                raise _Failed(f"{name}: {output} is not finite")
    return ", ".join(sorted(loaded.signatures))


def _no_python_op(path: str) -> str:
    from tensorflow.core.protobuf import saved_model_pb2

    with open(os.path.join(path, "saved_model.pb"), "rb") as file:
        graph = saved_model_pb2.SavedModel.FromString(file.read()).meta_graphs[0].graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    found = PYTHON_OPS & {node.op for node in nodes}
    if found:
        raise _Failed(f"the graph calls Python: {', '.join(sorted(found))}")
    return f"{len(nodes)} operations"


def _hub(path: str, trainable: bool) -> str:
    hub, keras2 = importlib.import_module("tensorflow_hub"), importlib.import_module("tf_keras")
    images = _images(path)
    layer = hub.KerasLayer(path, trainable=trainable)
    model = keras2.Sequential([keras2.Input(images.shape[1:]), layer, keras2.layers.Dense(2)])
    model.compile(keras2.optimizers.SGD(0.1), "mse")
    before = [variable.numpy() for variable in layer.variables]
    model.fit(images, np.ones([len(images), 2]), epochs=1, verbose=0)
    changed = sum(bool((a != b.numpy()).any()) for a, b in zip(before, layer.variables, strict=True))
    if bool(changed) != trainable:
        raise _Failed(f"a step changed {changed} of {len(before)} variables")
    return f"a step changed {changed} of {len(before)} variables"


def _keras(path: str) -> str:
    import keras

    images = _images(path)
    layer = keras.layers.TFSMLayer(path, call_endpoint="serving_default", call_training_endpoint="serve_training")
    _compare(layer(images), _expected(path, "serving_default", {"images": images}))
    layer(images, training=True)
    return "serving_default and serve_training"


def _cpp(path: str) -> str:
    checked = []
    for name, inputs in _inputs(path):
        with CppSession(path) as session:  # of its own, since training moves the statistics
            _compare(session.run(name, **inputs), _expected(path, name, inputs))
        checked.append(name)
    return f"{', '.join(checked)} within {_TOLERANCE:g}, no Python"


def _warmup(path: str) -> str:
    log = importlib.import_module("tensorflow_serving.apis.prediction_log_pb2").PredictionLog
    records = list(tf.data.TFRecordDataset(os.path.join(path, WARMUP)).as_numpy_iterator())
    with CppSession(path) as session:
        for record in records:
            request = log.FromString(record).predict_log.request
            inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
            session.run(request.model_spec.signature_name, **inputs)
    return f"{len(records)} requests"


def _version_directory(path: str) -> str:
    name = os.path.basename(os.path.abspath(path))
    if not name.isdecimal():
        raise _Failed(f"the directory is called {name!r}: TensorFlow Serving looks for a number")
    return f"version {name}"


_CHECKS: dict[str, Callable[[str], str]] = {
    "signatures": _signatures,
    "no Python in the graph": _no_python_op,
    "hub.KerasLayer, trainable": lambda path: _hub(path, True),
    "hub.KerasLayer, frozen": lambda path: _hub(path, False),
    "keras.layers.TFSMLayer": _keras,
    "C++ session": _cpp,
    "version directory": _version_directory,
    "warm-up requests": _warmup,
}


def _images(path: str) -> np.ndarray:
    """Two random images of a size that the model takes."""
    shape = tf.saved_model.load(path).signatures["serving_default"].structured_input_signature[1]["images"].shape
    return np.random.RandomState(0).rand(2, *(side or 32 for side in shape[1:])).astype(np.float32)


def _inputs(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """An input for each signature."""
    images = _images(path)
    for name in tf.saved_model.load(path).signatures:
        if name == "image_bytes":
            pixels = tf.image.convert_image_dtype(images, tf.uint8)
            yield name, {"image_bytes": [tf.io.encode_png(image).numpy() for image in pixels]}
        else:
            yield name, {"images": images}


def _expected(path: str, signature: str, inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
    loaded = tf.saved_model.load(path)
    return loaded.signatures[signature](**_tensors(inputs))


def _tensors(inputs: dict[str, Any]) -> dict[str, tf.Tensor]:
    return {name: tf.constant(value) for name, value in inputs.items()}


def _compare(received: dict[str, Any], expected: dict[str, tf.Tensor]) -> None:
    for name, value in expected.items():
        difference = float(np.abs(np.asarray(received[name]) - value).max() / max(1.0, np.abs(value).max()))
        if not difference <= _TOLERANCE:
            raise _Failed(f"{name} differs by {difference:.2g}")
