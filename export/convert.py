"""The encoder for other runtimes: LiteRT (TensorFlow Lite) and ONNX."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from tfcontrastive import storage
from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.encoders.whitening import Whitening, before_whitening, whitening_of
from tfcontrastive.export.extras import from_extra
from tfcontrastive.export.graph import precision
from tfcontrastive.export.model_card import meta_graph
from tfcontrastive.pretrained.trained import latest_version, rebuilt_encoder

QUANTIZATIONS = ("none", "float16", "dynamic", "int8", "int8_mixed")

_BATCH = 8
_XLA = "_XlaMustCompile"
_LEAST_COSINE = 0.98
_ADVICE = {
    "none": "",
    "float16": "",
    "dynamic": " Take quantize=float16 or none.",
    "int8": " Take quantize=dynamic, whose activations stay float, or int8_mixed, which normalises and adds in float.",
    "int8_mixed": " Take quantize=dynamic, whose activations stay float, or float16.",
}
_IN_FLOAT = [
    "ADD",
    "SUB",
    "MUL",
    "NEG",
    "SQUARED_DIFFERENCE",
    "MEAN",
    "RSQRT",
    "SOFTMAX",
    "L2_NORMALIZATION",
    "BROADCAST_TO",
]
"""What `int8_mixed` leaves in float32: layer normalisation, whose large terms cancel, sums of blocks, softmax, and the class
token before its images, which TensorFlow 2.20 gives no scale."""


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

    An encoder of half precision is converted in float32, with the weights that it has. The file is written when its
    vectors have been compared, or not at all.

    Args:
        saved_model: what `save_model` wrote, or the base of its versions.
        path: the file to write.
        image_size: S, in pixels.
        quantize: none; float16 weights; dynamic (int8 weights, float activations); int8 (both, needs `images`; inputs
            and outputs stay float32); int8_mixed (convolutions and matrix products as in int8, but normalisation, softmax
            and the sums of blocks in float32, as transformers need it). In the last three the matrix of a
            whitening (`Whitening`) is the sum of two of eight bits.
        images: float32 `[N, S, S, C]` in [0, 1] to calibrate int8 and int8_mixed with and to compare on. None compares on
            noise.

    Raises:
        InputError: for a wrong argument, or where the runtime has no such network: it does not convert, its vectors are not
            finite, or their mean cosine similarity with the SavedModel's is below 0.98 in int8 or int8_mixed.

    Examples:
        >>> to_tflite("exported", "encoder.tflite", image_size=28, quantize="float16").cosine_similarity > 0.99
        True
    """
    if quantize not in QUANTIZATIONS:
        raise InputError(f"`quantize` {unknown(quantize, QUANTIZATIONS)}")
    in_int8 = quantize.startswith("int8")
    if in_int8 and images is None:
        raise InputError(f"`images` must be given with quantize={quantize!r}: they set the ranges. Received: None.")
    model = _Model(saved_model, image_size, path, in_int8=in_int8, int8_kernels=in_int8 or quantize == "dynamic")
    samples = model.samples(images)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([model.function.get_concrete_function()], model.owner)
    if quantize != "none":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantize == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if in_int8:
        converter.representative_dataset = lambda: ([image[None]] for image in samples)
    advice = _ADVICE[quantize]
    with _one_line("LiteRT", advice):
        content = _partly_in_float(converter) if quantize == "int8_mixed" else converter.convert()
        runner = _interpreter(content).get_signature_runner()
        vectors = model.run(lambda batch: runner(images=batch)["embedding"], samples)
    return model.write(content, vectors, samples, advice, least_cosine=_LEAST_COSINE if in_int8 else -1.0)


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
    model = _Model(saved_model, image_size, path)
    samples = model.samples(images)
    with _one_line("ONNX Runtime", ""):
        proto, _ = tf2onnx.convert.from_function(
            _without_xla(model.function),
            input_signature=[model.spec],
            opset=opset,
            custom_op_handlers={"Erfc": (_erfc_in_onnx, [])},
        )
        content = proto.SerializeToString()
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        vectors = model.run(lambda batch: session.run(["embedding"], {"images": batch})[0], samples)
    return model.write(content, vectors, samples)


class _Model:
    """The SavedModel's encoder as one float32 function, without the checks that only servers need.

    Args:
        in_int8: it is for eight bits, in which LiteRT divides by no zero: rows are brought to unit length by its own
            operation, which leaves a row of zeros as it is.
        int8_kernels: kernels are rounded to eight bits, of which a whitening takes two.
    """

    def __init__(
        self,
        saved_model: str | os.PathLike,
        image_size: int,
        target: str | os.PathLike,
        *,
        in_int8: bool = False,
        int8_kernels: bool = False,
    ):
        path = latest_version(saved_model)
        self.target = os.fspath(target)
        storage.make_writable("path", os.path.dirname(self.target) or ".")  # before the work
        self.loaded = tf.saved_model.load(path)
        declared = self.loaded.signatures["serving_default"].structured_input_signature[1]["images"]
        shape = [None, image_size, image_size, declared.shape[-1]]
        if not declared.shape.is_compatible_with(shape):
            raise InputError(f"`image_size` must fit the model's images {declared.shape}. Received: {image_size}.")
        self.spec = tf.TensorSpec(shape, tf.float32, name="images")
        self.owner = tf.Module()
        self.owner.loaded = self.loaded
        encoder, finish = self.loaded, lambda features: features
        in_half = precision(meta_graph(path)) != "float32"
        rebuilt = rebuilt_encoder(path) if in_half or int8_kernels else None
        whitening = whitening_of(rebuilt) if int8_kernels else None
        is_whitened = whitening is not None and whitening.fitted
        if is_whitened or in_half:
            encoder = _in_float32(rebuilt, path, image_size)
            self.owner.weights = [variable.value for variable in encoder.variables]
        if is_whitened:
            finish, encoder = _in_two_bytes(whitening_of(encoder)), before_whitening(encoder)

        @tf.function(input_signature=[self.spec])
        def embed(images):
            features = finish(encoder(images, training=False))
            if in_int8:
                return {"embedding": features, "embedding_l2": tf.math.l2_normalize(features, axis=-1)}
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

    def run(self, embed: Callable[[np.ndarray], np.ndarray], samples: np.ndarray) -> np.ndarray:
        """The vectors of all samples, a few at a time."""
        return np.concatenate([embed(samples[start : start + _BATCH]) for start in range(0, len(samples), _BATCH)])

    def write(
        self,
        content: bytes,
        vectors: np.ndarray,
        samples: np.ndarray,
        advice: str = "",
        least_cosine: float = -1.0,
    ) -> Converted:
        """Writes the file, if its vectors are near enough to the SavedModel's."""
        expected = self.run(lambda batch: self.loaded(tf.constant(batch)).numpy(), samples)
        if not np.isfinite(vectors).all():
            raise InputError(f"`saved_model` must be one that converts. Received: vectors that are not finite.{advice}")
        cosine = float((_unit(expected) * _unit(vectors)).sum(axis=1).mean())
        if cosine < least_cosine:
            raise InputError(
                f"`saved_model` must keep its vectors: a mean cosine similarity of {least_cosine} at least. "
                f"Received: {cosine:.3f}.{advice}"
            )
        _write(self.target, content)
        difference = np.abs(expected - vectors).max()
        return Converted(self.target, len(content), float(difference), cosine)


def _in_float32(encoder: keras.Model | None, path: str, image_size: int) -> keras.Model:
    """An export's encoder, built again in float32: no other runtime has operations of half precision."""
    if encoder is None:
        raise InputError(f"`saved_model` must be float32, or tell its architecture, to be converted. Received: {path}.")
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        return rebuild(encoder, image_size=image_size)
    finally:
        keras.config.set_dtype_policy(policy)


def _in_two_bytes(whitening: Whitening) -> Callable[[tf.Tensor], tf.Tensor]:
    """The layer's function with its kernel as the sum of two: 16 bits of it are kept where each is rounded to 8.

    The second is what rounding takes from the first. Of 8 bits alone the error drowns directions of little variance, which a
    whitening makes as large as any: vectors had a mean cosine similarity of 0.95 to what they should be.
    """
    mean, kernel = whitening.mean.numpy(), whitening.kernel.numpy()
    step = np.abs(kernel).max(axis=0) / 127
    coarse = np.round(kernel / step) * step
    fine = kernel - coarse
    return lambda features: tf.matmul(features - mean, coarse) + tf.matmul(features - mean, fine)


def _partly_in_float(converter: Any) -> bytes:
    """The converted file in int8, but for the operations of `_IN_FLOAT`; the converter has its images to calibrate on.

    TensorFlow chooses operations only in the tool that it debugs quantization with, whose interpreter warns of its age.
    """
    tools = tf.lite.experimental
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        debugger = tools.QuantizationDebugger(
            converter=converter,
            debug_dataset=converter.representative_dataset,
            debug_options=tools.QuantizationDebugOptions(denylisted_ops=_IN_FLOAT),
        )
        return debugger.get_nondebug_quantized_model()


def _without_xla(function: tf.types.experimental.PolymorphicFunction) -> Callable:
    """The function without calls that XLA must compile, which no converter looks into.

    Keras makes them of grouped convolutions, since TensorFlow has no kernel for these on a CPU; other runtimes have.
    """
    concrete = function.get_concrete_function()
    frozen = convert_variables_to_constants_v2(concrete)
    graph = frozen.graph.as_graph_def()
    places = [*graph.node, *graph.library.function, *(n for body in graph.library.function for n in body.node_def)]
    compiled = [place for place in places if _XLA in place.attr]
    if not compiled:
        return function
    for place in compiled:
        del place.attr[_XLA]
    given, outputs = frozen.inputs[0].name, [tensor.name for tensor in frozen.outputs]

    @tf.function(input_signature=function.input_signature)
    def embed(images):
        found = tf.graph_util.import_graph_def(graph, {given: images}, outputs, name="inner")
        return tf.nest.pack_sequence_as(concrete.structured_outputs, found)

    return embed


def _unit(vectors: np.ndarray) -> np.ndarray:
    """Rows of unit length, in float64: the squares of small numbers are no float32. Zero rows are alike."""
    vectors = vectors.astype(np.float64)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(length > 0, vectors / np.where(length > 0, length, 1), 1 / np.sqrt(vectors.shape[1]))


@contextlib.contextmanager
def _one_line(runtime: str, advice: str) -> Iterator[None]:
    """What a converter or a runtime raises on a network that it cannot take."""
    try:
        yield
    except Exception as error:  # each has exceptions of its own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = (lines or [type(error).__name__])[0][:200].rstrip(".")
        raise InputError(f"`saved_model` must be one that {runtime} can run. Received: {reason}.{advice}") from error


def _erfc_in_onnx(graph: Any, node: Any, name: str, _: list) -> Any:
    """`erfc(x) = 1 - erf(x)`: Keras' exact GELU has the one, ONNX only the other."""
    dtype, shape = graph.get_dtype(node.output[0]), graph.get_shape(node.output[0])
    graph.remove_node(node.name)
    one = graph.make_const(f"{name}_one", np.array(1, np.float32))
    erf = graph.make_node("Erf", node.input, name=f"{name}_erf")
    return graph.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=node.output, name=name, shapes=[shape], dtypes=[dtype]
    )


def _interpreter(content: bytes) -> Any:
    """LiteRT's interpreter where it is installed; TensorFlow's own copy of it is deprecated."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter").Interpreter(model_content=content)
    except ImportError:
        return tf.lite.Interpreter(model_content=content)


def _write(path: str, content: bytes) -> None:
    """The whole file or none of it."""
    try:
        storage.write(path, content)
    except BaseException:
        with contextlib.suppress(tf.errors.NotFoundError):
            tf.io.gfile.remove(path + ".tmp")
        raise
