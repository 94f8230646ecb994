"""TensorFlow Serving's gRPC interface."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.export.extras import from_extra
from tfcontrastive.export.serving_error import ServingError
from tfcontrastive.export.tls import Tls

_LARGEST_MESSAGE = 2**30
_OPTIONS = {
    "grpc.max_send_message_length": _LARGEST_MESSAGE,
    "grpc.max_receive_message_length": _LARGEST_MESSAGE,
    # A channel that lost its server looks for it this often, not after up to two minutes.
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
}


class GrpcTransport:
    """TensorFlow Serving's PredictionService.

    Args:
        address: `host:port`.
        model: its name on the server.
        version: a number, or None for the latest.
        tls: how to encrypt, None for not at all.
        options: of the channel, by gRPC's names; they replace ours.
    """

    def __init__(
        self, address: str, model: str, version: int | None, *, tls: Tls | None, options: Mapping[str, int | str]
    ):
        self._grpc = _module("grpc")
        self._predict = _module("tensorflow_serving.apis.predict_pb2")
        self._metadata = _module("tensorflow_serving.apis.get_model_metadata_pb2")
        service = _module("tensorflow_serving.apis.prediction_service_pb2_grpc")
        try:
            self._channel = self._open(address, tls, list({**_OPTIONS, **options}.items()))
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(
                f"`channel_options` must be options of a gRPC channel. Received: {dict(options)} ({error})."
            ) from error
        self._stub = service.PredictionServiceStub(self._channel)
        self._model, self._version = model, version

    def predict(
        self, signature: str, inputs: dict[str, list], outputs: Sequence[str], timeout: float
    ) -> dict[str, np.ndarray]:
        """Some outputs of a signature, by name."""
        import tensorflow as tf

        request = self._addressed(self._predict.PredictRequest())
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for name, values in inputs.items():
            array = np.array(values, object) if isinstance(values[0], bytes) else np.stack(values)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        response = self._call(self._stub.Predict, request, timeout)
        for output in outputs:
            if output not in response.outputs:  # asking a protobuf map for it would put it there
                raise ServingError(
                    "INTERNAL",
                    f"the answer must hold the output {output!r}. "
                    f"Received: {', '.join(sorted(response.outputs)) or 'none'}.",
                )
        return {output: _array(response.outputs[output]) for output in outputs}

    def metadata(self, timeout: float) -> dict[str, dict[str, Any]]:
        """The signatures of the model."""
        import tensorflow as tf
        from google.protobuf.message import DecodeError

        request = self._addressed(self._metadata.GetModelMetadataRequest())
        request.metadata_field.append("signature_def")
        response = self._call(self._stub.GetModelMetadata, request, timeout)
        signatures = self._metadata.SignatureDefMap()

        def describe(tensors):
            return {
                name: [tf.dtypes.as_dtype(info.dtype).name, [side.size for side in info.tensor_shape.dim]]
                for name, info in tensors.items()
            }

        try:
            if not response.metadata["signature_def"].Unpack(signatures):
                raise ServingError("INTERNAL", "the answer must hold the metadata signature_def. Received: none.")
            return {
                name: {"inputs": describe(signature.inputs), "outputs": describe(signature.outputs)}
                for name, signature in signatures.signature_def.items()
            }
        except (DecodeError, TypeError) as error:
            raise ServingError("INTERNAL", f"the metadata must be signatures. Received: {error}.") from error

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _open(self, address: str, tls: Tls | None, options: list[tuple[str, int | str]]) -> Any:
        if tls is None:
            return self._grpc.insecure_channel(address, options=options)
        credentials = self._grpc.ssl_channel_credentials(
            root_certificates=_content(tls.roots), private_key=_content(tls.key), certificate_chain=_content(tls.chain)
        )
        return self._grpc.secure_channel(address, credentials, options=options)

    def _addressed(self, request: Any) -> Any:
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        return request

    def _call(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout)
        except self._grpc.RpcError as error:
            raise ServingError(error.code().name, " ".join((error.details() or "no reason").split())) from error


def _array(tensor: Any) -> np.ndarray:
    """The values of a `TensorProto`, of which a server may have written anything."""
    import tensorflow as tf

    shape = [side.size for side in tensor.tensor_shape.dim]
    if 4 * math.prod(shape) > _LARGEST_MESSAGE or tensor.ByteSize() > _LARGEST_MESSAGE:
        raise ServingError("INTERNAL", f"the answer must fit in a message. Received: an output of shape {shape}.")
    try:
        return tf.make_ndarray(tensor)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise ServingError("INTERNAL", f"the answer must hold a tensor. Received: {error}.") from error


def _content(path: str | os.PathLike | None) -> bytes | None:
    if path is None:
        return None
    with open(path, "rb") as file:  # `Tls` has looked whether it can be read
        return file.read()


def _module(name: str) -> Any:
    return from_extra("serving", name, "`protocol=grpc`")
