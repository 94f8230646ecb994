"""The encoder for other runtimes: LiteRT (TensorFlow Lite) and ONNX."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.extras import from_extra
from tfcontrastive.export.search import unit_length
from tfcontrastive.trained import latest_version

QUANTIZATIONS = ("none", "float16", "dynamic", "int8")

_BATCH = 8


@dataclasses.dataclass(frozen=True)
class Converted:
    """A converted file, and how near its embeddings are to the SavedModel's: over the images compared, the largest
    difference of a component and the mean cosine similarity."""

    path: str
    bytes: int
    max_difference: float
    cosine_similarity: float


def to_tflite(
    saved_model: str | os.PathLike,
    path: str | os.PathLike,
    *,
    image_size: int,
    quantize: str = "none",
    images: np.ndarray | None = None,
) -> Converted:
    """Writes a `.tflite` file: images float32 `[B, S, S, C]` -> `embedding` and `embedding_l2` (images only: decoding
    files is not among that runtime's operations).

    Args:
        saved_model: what `save_model` wrote, or the base of its versions.
        path: the file to write.
        image_size: S, in pixels.
        quantize: none; float16 weights; dynamic (int8 weights, float activations); int8 (both, needs `images`; inputs
            and outputs stay float32).
        images: float32 `[N, S, S, C]` in [0, 1] to calibrate int8 with and to compare on. None compares on noise.

    Raises:
        InputError: for a wrong argument.

    Example:

    ```python
    to_tflite("exported", "encoder.tflite", image_size=224, quantize="float16").cosine_similarity
    ```
    """
    if quantize not in QUANTIZATIONS:
        raise InputError(f"`quantize` {unknown(quantize, QUANTIZATIONS)}")
    if quantize == "int8" and images is None:
        raise InputError("`images` must be given with quantize='int8': they set the ranges. Received: None.")
    model = _Model(saved_model, image_size)
    samples = model.samples(images)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.function.get_concrete_function()], model.loaded)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantize == "int8":
        converter.representative_dataset = lambda: ([image[None]] for image in samples)
    content = converter.convert()
    _write(path, content)
    runner = _interpreter(content).get_signature_runner()
    return model.compare(path, lambda batch: runner(images=batch)["embedding"], samples)


def to_onnx(
    saved_model: str | os.PathLike,
    path: str | os.PathLike,
    *,
    image_size: int,
    opset: int = 17,
    images: np.ndarray | None = None,
) -> Converted:
    """Writes an `.onnx` file: images float32 `[B, S, S, C]` -> `embedding` and `embedding_l2`.

    Args:
        saved_model, path, image_size, images: as in `to_tflite`.
        opset: the version of ONNX's operators.

    Raises:
        InputError: for a wrong argument, or where tf2onnx or onnxruntime is not installed.
    """
    tf2onnx, onnxruntime = (from_extra("onnx", name, "`to_onnx`") for name in ("tf2onnx", "onnxruntime"))
    model = _Model(saved_model, image_size)
    samples = model.samples(images)
    proto, _ = tf2onnx.convert.from_function(model.function, input_signature=[model.spec], opset=opset,
                                             custom_op_handlers={"Erfc": (_erfc_in_onnx, [])})
    content = proto.SerializeToString()
    _write(path, content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return model.compare(path, lambda batch: session.run(["embedding"], {"images": batch})[0], samples)


class _Model:
    """The SavedModel's encoder as one function, without the checks that only servers need."""

    def __init__(self, saved_model: str | os.PathLike, image_size: int):
        self.loaded = tf.saved_model.load(latest_version(saved_model))
        declared = self.loaded.signatures["serving_default"].structured_input_signature[1]["images"]
        shape = [None, image_size, image_size, declared.shape[-1]]
        if not declared.shape.is_compatible_with(shape):
            raise InputError(f"`image_size` must fit the model's images {declared.shape}. Received: {image_size}.")
        self.spec = tf.TensorSpec(shape, tf.float32, name="images")

        @tf.function(input_signature=[self.spec])
        def embed(images):
            features = self.loaded(images)
            length = tf.sqrt(tf.reduce_sum(features * features, axis=-1, keepdims=True))
            return {"embedding": features, "embedding_l2": features / tf.maximum(length, 1e-12)}

        self.function = embed

    def samples(self, images: np.ndarray | None) -> np.ndarray:
        if images is None:
            return np.random.RandomState(0).rand(_BATCH, *self.spec.shape[1:]).astype(np.float32)
        images = np.asarray(images, np.float32)
        if not len(images) or not self.spec.shape.is_compatible_with(images.shape):
            raise InputError(f"`images` must be {self.spec.shape}. Received: {list(images.shape)}.")
        return images

    def compare(self, path: Any, run: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> Converted:
        batches = [samples[start:start + _BATCH] for start in range(0, len(samples), _BATCH)]
        expected = np.concatenate([self.loaded(tf.constant(batch)).numpy() for batch in batches])
        received = np.concatenate([run(batch) for batch in batches])
        difference = np.abs(expected - received).max()
        cosine = (unit_length(expected) * unit_length(received)).sum(axis=1).mean()
        return Converted(os.fspath(path), os.path.getsize(path), float(difference), float(cosine))


def _erfc_in_onnx(graph: Any, node: Any, name: str, _: list) -> Any:
    """`erfc(x) = 1 - erf(x)`: Keras' exact GELU has the one, ONNX only the other."""
    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    graph.remove_node(node.name)
    one = graph.make_const(f"{name}_one", np.array(1, np.float32))
    erf = graph.make_node("Erf", node.input, name=f"{name}_erf")
    return graph.make_node("Sub", [one.output[0], erf.output[0]], outputs=node.output, name=name, shapes=[shape],
                           dtypes=[dtype])


def _interpreter(content: bytes) -> Any:
    """LiteRT's interpreter where it is installed; TensorFlow's own copy of it is deprecated."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter(model_content=content)
    except ImportError:
        return tf.lite.Interpreter(model_content=content)


def _write(path: str | os.PathLike, content: bytes) -> None:
    aside = f"{os.fspath(path)}.tmp"
    with open(aside, "wb") as file:
        file.write(content)
    os.replace(aside, path)
