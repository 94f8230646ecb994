"""Requests that TensorFlow Serving replays when it loads a model, so that the first user does not wait."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")

_FREE_SIDE = 32  # of an input whose sides may be any: the smallest image that networks of images take


def write_warmup_requests(path: str, size: int, channels: int, signatures: tuple[str, ...]) -> None:
    """Writes one request a signature of an encoder into its SavedModel.

    Only `serving_default` and `image_bytes` are replayed: one failing record can fail the load.

    Args:
        path: the SavedModel's directory.
        size, channels: the image to send, `[1, size, size, channels]`.
        signatures: what the model has.
    """
    image = tf.fill([size, size, channels], tf.constant(127, tf.uint8))
    requests = {"serving_default": {"images": tf.image.convert_image_dtype(image, tf.float32)[None]}}
    if "image_bytes" in signatures:
        requests["image_bytes"] = {"image_bytes": tf.io.encode_png(image)[None]}
    write_requests(path, requests)


def write_requests(path: str, requests: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes requests into a SavedModel: `PredictionLog` records, without the package of its protos.

    Args:
        path: the SavedModel's directory.
        requests: {signature: {input: tensor}}.
    """
    tf.io.gfile.makedirs(os.path.dirname(os.path.join(path, WARMUP)))
    with tf.io.TFRecordWriter(os.path.join(path, WARMUP)) as writer:
        for signature, inputs in requests.items():
            writer.write(_prediction_log(signature, inputs))


def made_input(spec: tf.TensorSpec, rows: int = 1) -> np.ndarray:
    """What a tower can be asked for that nothing is known of but its input `[None, ...]`.

    Args:
        spec: of the input.
        rows: of it; they differ, but for whole numbers, of which 1 is a token, a segment and a mask that is set.

    Examples:
        >>> made_input(tf.TensorSpec([None], tf.string), rows=2).tolist()
        [b'a text', b'a text a text']
        >>> made_input(tf.TensorSpec([None, 4], tf.float32)).tolist()
        [[0.5, 0.5, 0.5, 0.5]]
    """
    shape = [rows, *(side or _FREE_SIDE for side in spec.shape[1:])]
    numbers = np.arange(1, rows + 1).reshape([rows, *[1] * (len(shape) - 1)])
    if spec.dtype == tf.string:
        texts = np.array([b" ".join([b"a text"] * number) for number in range(1, rows + 1)], object)
        return np.broadcast_to(texts.reshape(numbers.shape), shape)
    values = numbers / (rows + 1) if spec.dtype.is_floating else np.ones_like(numbers)
    return np.broadcast_to(values, shape).astype(spec.dtype.as_numpy_dtype)


def _prediction_log(signature: str, inputs: Mapping[str, Any]) -> bytes:
    """PredictionLog(predict_log=PredictLog(request=PredictRequest(model_spec, inputs={name: tensor})))."""
    request = _field(1, _field(3, signature.encode()))
    for name, value in inputs.items():
        tensor = tf.make_tensor_proto(value).SerializeToString()
        request += _field(2, _field(1, name.encode()) + _field(2, tensor))
    return _field(6, _field(1, request))


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = b"", len(value)
    while size >= 128:
        length += bytes([size % 128 + 128])
        size //= 128
    return bytes([number << 3 | 2]) + length + bytes([size]) + value
