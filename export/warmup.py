"""Requests that TensorFlow Serving replays when it loads a model, so that the first user does not wait."""

from __future__ import annotations

import os

import tensorflow as tf

WARMUP = os.path.join("assets.extra", "tf_serving_warmup_requests")


def write_warmup_requests(path: str, size: int, channels: int, signatures: tuple[str, ...]) -> None:
    """Writes one request a signature into the SavedModel: `PredictionLog` records, without the package of its protos.

    Only `serving_default` and `image_bytes` are replayed: one failing record can fail the load.

    Args:
        path: the SavedModel's directory.
        size, channels: the image to send, `[1, size, size, channels]`.
        signatures: what the model has.
    """
    image = tf.fill([size, size, channels], tf.constant(127, tf.uint8))
    requests = {"serving_default": ("images", tf.image.convert_image_dtype(image, tf.float32)[None])}
    if "image_bytes" in signatures:
        requests["image_bytes"] = ("image_bytes", tf.io.encode_png(image)[None])
    tf.io.gfile.makedirs(os.path.dirname(os.path.join(path, WARMUP)))
    with tf.io.TFRecordWriter(os.path.join(path, WARMUP)) as writer:
        for signature, (name, tensor) in requests.items():
            writer.write(_prediction_log(signature, name, tf.make_tensor_proto(tensor).SerializeToString()))


def _prediction_log(signature: str, name: str, tensor: bytes) -> bytes:
    """PredictionLog(predict_log=PredictLog(request=PredictRequest(model_spec, inputs={name: tensor})))."""
    model_spec = _field(3, signature.encode())
    entry = _field(1, name.encode()) + _field(2, tensor)
    return _field(6, _field(1, _field(1, model_spec) + _field(2, entry)))


def _field(number: int, value: bytes) -> bytes:
    """A length-delimited field of a protocol buffer."""
    length, size = b"", len(value)
    while size >= 128:
        length += bytes([size % 128 + 128])
        size //= 128
    return bytes([number << 3 | 2]) + length + bytes([size]) + value
