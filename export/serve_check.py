"""One look at an export with the eyes of each of its consumers."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import meta_graph_pb2

from tfcontrastive.export.client import EmbeddingClient
from tfcontrastive.export.cpp_session import CppSession
from tfcontrastive.export.graph import assigning_signatures, precision
from tfcontrastive.export.grpc_transport import GrpcTransport
from tfcontrastive.export.model_card import meta_graph, read_card
from tfcontrastive.export.warmup import WARMUP, made_input
from tfcontrastive.pretrained.trained import MAX_VERSION, latest_version

PYTHON_OPS = {"PyFunc", "PyFuncStateless", "EagerPyFunc", "NumpyFunction"}

_TOLERANCES = {"float32": 1e-5, "float16": 1e-2, "bfloat16": 5e-2}
_FOLDED_TOLERANCE = 1e-4
_NUDGE = 1e-6


@dataclasses.dataclass(frozen=True)
class Check:
    """The outcome of one check: `passed` is None where it was not run, and `detail` says why."""

    name: str
    passed: bool | None
    detail: str


def check_export(
    saved_model: str | os.PathLike, *, server: str | None = None, server_model: str = "encoder"
) -> list[Check]:
    """Loads an export in every way that is at hand, and compares what each gives with TensorFlow's own loader.

    No check changes the export; one that fails does not stop the others.

    Two towers are asked for embeddings of made inputs, as nothing is known of what they take but its shape.

    Args:
        saved_model: what `save_model` or `save_towers` wrote, or the base of its versions (the highest is checked).
        server: `host:port` of the gRPC interface of a TensorFlow Serving that has this version of the export.
        server_model: its name there.

    Returns:
        One `Check` for each consumer.

    Raises:
        InputError: if there is no SavedModel.

    Examples:
        >>> for check in check_export("exported"):
        ...     print(check.name, check.passed, check.detail)
    """
    path = latest_version(saved_model)
    towers = _are_towers(path)
    export = (_Towers if towers else _Export)(path, server, server_model)
    try:
        return [_run(name, check, export) for name, check in (_TOWER_CHECKS if towers else _CHECKS).items()]
    finally:
        export.close()


class _Failed(Exception):
    """What a check found."""


class _NotRun(Exception):
    """Why a check was not run."""


class _Export:
    """The export, loaded once, with an input for each signature and what TensorFlow's own loader makes of it."""

    needed = frozenset({"serving_default", "features", "serve_training"})

    def __init__(self, path: str, server: str | None, server_model: str):
        self.path, self.server, self.server_model = path, server, server_model

    @cached_property
    def loaded(self) -> Any:
        return tf.saved_model.load(self.path)

    @cached_property
    def images(self) -> np.ndarray:
        """Two random images of a size that the model takes."""
        shape = self.loaded.signatures["serving_default"].structured_input_signature[1]["images"].shape
        return np.random.RandomState(0).rand(2, *(side or 32 for side in shape[1:])).astype(np.float32)

    @cached_property
    def files(self) -> list[bytes]:
        """The same as PNG files."""
        return [tf.io.encode_png(tf.image.convert_image_dtype(image, tf.uint8)).numpy() for image in self.images]

    @cached_property
    def tolerance(self) -> float:
        """How far equal vectors may differ, for the precision that the network computes in."""
        least = _FOLDED_TOLERANCE if read_card(self.path).get("optimized") else 0.0
        return max(least, _TOLERANCES[precision(self.meta)])

    @cached_property
    def meta(self) -> meta_graph_pb2.MetaGraphDef:
        return meta_graph(self.path)

    @cached_property
    def inputs(self) -> dict[str, dict[str, Any]]:
        """{signature: {name: input}}."""
        content = {"image_bytes": self.files, "images": self.images, "k": np.int32(1)}
        return {
            name: {key: content[key] for key in signature.structured_input_signature[1]}
            for name, signature in self.loaded.signatures.items()
        }

    @cached_property
    def expected(self) -> dict[str, dict[str, tf.Tensor]]:
        """{signature: {output: tensor}} of `inputs`."""
        return {
            name: self.loaded.signatures[name](**{key: tf.constant(value) for key, value in inputs.items()})
            for name, inputs in self.inputs.items()
        }

    @cached_property
    def unstable(self) -> str:
        """Why training mode cannot be compared; empty where it can be.

        Batch statistics of two images, each a single pixel in the last layers, may divide rounding errors by themselves.
        """
        noise = np.random.RandomState(1).choice(np.array([-_NUDGE, _NUDGE], np.float32), self.images.shape)
        outputs = self.loaded.signatures["serve_training"](images=tf.constant(self.images + noise))
        moved = _difference(outputs, self.expected["serve_training"])[1]
        if moved <= self.tolerance:
            return ""
        return (
            f"; serve_training is too unstable to compare: with the batch statistics of {len(self.images)} images of "
            f"{self.images.shape[1]} x {self.images.shape[2]} pixels, noise of {_NUDGE:g} moves it by {moved:.2g}"
        )

    def compare(self, received: dict[str, Any], expected: dict[str, tf.Tensor]) -> None:
        """Fails where an output differs by more than the tolerance."""
        name, difference = _difference(received, expected)
        if not difference <= self.tolerance:
            raise _Failed(f"{name} differs by {difference:.2g}, more than {self.tolerance:g}")

    @cached_property
    def session(self) -> CppSession:
        return CppSession(self.path)

    def close(self) -> None:
        if "session" in self.__dict__:
            self.session.close()


class _Towers(_Export):
    """Two towers."""

    needed = frozenset({"query", "key", "similarity"})
    unstable = ""  # there is no training mode

    @cached_property
    def inputs(self) -> dict[str, dict[str, Any]]:
        return {
            name: {key: made_input(spec, 2) for key, spec in signature.structured_input_signature[1].items()}
            for name, signature in self.loaded.signatures.items()
        }

    def of_side(self, side: str) -> Any:
        """The inputs of a side as its tower takes them: a tensor, a list or a dictionary."""
        named = self.inputs[side]
        if side in named:
            return named[side]
        short = {name.removeprefix(f"{side}_"): value for name, value in named.items()}
        places = [str(place) for place in range(len(short))]
        return [short[place] for place in places] if set(short) == set(places) else short


def _are_towers(path: str) -> bool:
    try:
        return _Towers.needed <= set(meta_graph(path).signature_def)
    except (DecodeError, tf.errors.OpError):  # the checks will say so
        return False


def _run(name: str, check: Callable[[_Export], str], export: _Export) -> Check:
    try:
        return Check(name, True, check(export))
    except _NotRun as reason:
        return Check(name, None, str(reason))
    except ModuleNotFoundError as error:
        return Check(name, None, f"{error.name} is not installed")
    except Exception as error:  # whatever a consumer raises is the finding
        found = next(iter(str(error).strip().splitlines()), "")[:300]
        return Check(name, False, found if isinstance(error, _Failed) else f"{type(error).__name__}: {found}")


def _signatures(export: _Export) -> str:
    missing = export.needed - set(export.loaded.signatures)
    if missing:
        raise _Failed(f"missing: {', '.join(sorted(missing))}")
    for name, outputs in export.expected.items():
        for output, value in outputs.items():
            if value.dtype.is_floating and not np.isfinite(value).all():
                raise _Failed(f"{name}: {output} is not finite")
    return ", ".join(sorted(export.expected))


def _no_python_op(export: _Export) -> str:
    graph = export.meta.graph_def
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    found = PYTHON_OPS & {node.op for node in nodes}
    if found:
        raise _Failed(f"the graph calls Python: {', '.join(sorted(found))}")
    return f"{len(nodes)} operations"


def _no_side_effect(export: _Export) -> str:
    found = assigning_signatures(export.meta)
    if found:
        names = ", ".join(f"{name} ({op})" for name, op in sorted(found.items()))
        raise _Failed(f"one client's request changes what all others get: {names}")
    return "no signature assigns to a variable"


def _hub_load(export: _Export) -> str:
    import tensorflow_hub as hub

    export.compare(
        {"embedding": hub.load(export.path)(export.images)},
        {"embedding": export.expected["serving_default"]["embedding"]},
    )
    return f"equal within {export.tolerance:g}"


def _hub_layer(export: _Export, trainable: bool) -> str:
    """Fits a model around the layer, and looks at what has moved."""
    import tensorflow_hub as hub
    import tf_keras

    layer = hub.KerasLayer(export.path, trainable=trainable)
    model = tf_keras.Sequential([tf_keras.Input(export.images.shape[1:]), layer, tf_keras.layers.Dense(2)])
    model.compile(tf_keras.optimizers.SGD(0.1, clipnorm=1.0), "mse")
    penalties = float(sum(layer.losses))
    wanted = float(sum(loss() for loss in export.loaded.regularization_losses)) if trainable else 0.0
    if abs(penalties - wanted) > _TOLERANCES["float32"] * max(1.0, wanted):
        raise _Failed(f"regularisation losses are {penalties:g} in place of {wanted:g}")
    before = [variable.numpy() for variable in layer.variables]
    model.fit(export.images, np.ones([len(export.images), 2]), epochs=2, verbose=0)
    if not all(np.isfinite(variable).all() for variable in layer.variables):
        raise _Failed(
            f"two steps of training gave NaN: the network does not train on {len(export.images)} images of "
            f"{export.images.shape[1]} x {export.images.shape[2]} pixels"
        )
    changed = sum(bool((a != b.numpy()).any()) for a, b in zip(before, layer.variables, strict=True))
    found = f"two steps changed {changed} of {len(before)} variables"
    if bool(changed) != trainable:
        raise _Failed(found)
    if not trainable:
        return found
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder, save_format="tf")
        export.compare({"output": tf_keras.models.load_model(folder)(export.images)}, {"output": model(export.images)})
    return f"{found}; regularisation losses {penalties:.4g}; saved and loaded again"


def _keras_layer(export: _Export) -> str:
    import keras

    layer = keras.layers.TFSMLayer(
        export.path, call_endpoint="serving_default", call_training_endpoint="serve_training"
    )
    export.compare(layer(export.images), export.expected["serving_default"])
    if not export.unstable:
        export.compare(layer(export.images, training=True), export.expected["serve_training"])
    return f"serving_default and serve_training within {export.tolerance:g}{export.unstable}"


def _tower_layers(export: _Towers) -> str:
    import keras

    for side in ("query", "key"):
        layer = keras.layers.TFSMLayer(export.path, call_endpoint=side)
        export.compare(layer(tf.nest.map_structure(tf.constant, export.of_side(side))), export.expected[side])
    return f"query and key within {export.tolerance:g}"


def _cpp_session(export: _Export) -> str:
    for name, inputs in export.inputs.items():
        outputs = export.session.run(name, **inputs)
        if name != "serve_training" or not export.unstable:
            export.compare(outputs, export.expected[name])
    return f"{', '.join(sorted(export.inputs))} within {export.tolerance:g}, no Python{export.unstable}"


def _version_directory(export: _Export) -> str:
    name = os.path.basename(os.path.abspath(export.path))
    if not (name.isascii() and name.isdecimal() and int(name) <= MAX_VERSION):
        raise _Failed(f"the directory is called {name!r}: TensorFlow Serving looks for a number")
    return f"version {name}"


def _warmup(export: _Export) -> str:
    from tensorflow_serving.apis import prediction_log_pb2

    records = list(tf.data.TFRecordDataset(os.path.join(export.path, WARMUP)).as_numpy_iterator())
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        inputs = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        export.session.run(request.model_spec.signature_name, **inputs)
    return f"{len(records)} requests replayed in the C++ session"


def _server(export: _Export) -> str:
    if export.server is None:
        raise _NotRun("no server was named")
    version = int(os.path.basename(os.path.abspath(export.path)))
    with EmbeddingClient(export.server, model=export.server_model, version=version, timeout=60) as client:
        for name, sent in (("serving_default", export.images), ("image_bytes", export.files)):
            if name in export.expected:
                expected = export.expected[name]["embedding"]
                export.compare({name: client.embed(sent)}, {name: expected})
    return f"version {version} at {export.server} within {export.tolerance:g}"


def _tower_server(export: _Towers) -> str:
    if export.server is None:
        raise _NotRun("no server was named")
    version = int(os.path.basename(os.path.abspath(export.path)))
    transport = GrpcTransport(export.server, export.server_model, version, tls=None, options={})
    try:
        for name, inputs in export.inputs.items():
            sent = {key: list(value) for key, value in inputs.items()}
            export.compare(transport.predict(name, sent, list(export.expected[name]), 60), export.expected[name])
    finally:
        transport.close()
    return f"version {version} at {export.server} within {export.tolerance:g}"


_CHECKS: dict[str, Callable[[_Export], str]] = {
    "signatures": _signatures,
    "no Python in the graph": _no_python_op,
    "no side effects": _no_side_effect,
    "hub.load": _hub_load,
    "hub.KerasLayer, trainable": lambda export: _hub_layer(export, True),
    "hub.KerasLayer, frozen": lambda export: _hub_layer(export, False),
    "keras.layers.TFSMLayer": _keras_layer,
    "C++ session": _cpp_session,
    "version directory": _version_directory,
    "warm-up requests": _warmup,
    "EmbeddingClient": _server,
}

_TOWER_CHECKS: dict[str, Callable[[Any], str]] = {
    "signatures": _signatures,
    "no Python in the graph": _no_python_op,
    "no side effects": _no_side_effect,
    "keras.layers.TFSMLayer": _tower_layers,
    "C++ session": _cpp_session,
    "version directory": _version_directory,
    "warm-up requests": _warmup,
    "gRPC": _tower_server,
}


def _difference(received: dict[str, Any], expected: dict[str, tf.Tensor]) -> tuple[str, float]:
    """The output that differs most, and by how much: of its largest entry, where that is above 1."""
    found = {name: _distance(np.asarray(received[name]), value.numpy()) for name, value in expected.items()}
    name = max(found, key=lambda name: (np.isnan(found[name]), found[name]))
    return name, found[name]


def _distance(received: np.ndarray, expected: np.ndarray) -> float:
    """Of numbers, the greatest difference, relative to the largest where that is above 1; of strings, 0 or infinity."""
    if expected.dtype.kind == "O":
        return 0.0 if received.tolist() == expected.tolist() else np.inf
    return float(np.abs(received - expected).max() / max(1.0, np.abs(expected).max()))
