"""How requests travel to TensorFlow Serving: gRPC or REST, with errors of the same canonical codes."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

from tfcontrastive.export.extras import from_extra

_HTTP_CODES = {400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 408: "DEADLINE_EXCEEDED", 412: "FAILED_PRECONDITION",
               429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 501: "UNIMPLEMENTED", 502: "UNAVAILABLE",
               503: "UNAVAILABLE", 504: "DEADLINE_EXCEEDED"}

_LARGEST_MESSAGE = 2**30


class ServingError(RuntimeError):
    """The server's answer, or its silence: `code` by gRPC's canonical name, and a message."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class GrpcTransport:
    """TensorFlow Serving's PredictionService.

    Args:
        address: `host:port`.
        model: its name on the server.
        version: a number, or None for the latest.
    """

    def __init__(self, address: str, model: str, version: int | None):
        self._grpc = _module("grpc", "grpc")
        self._predict = _module("tensorflow_serving.apis.predict_pb2", "grpc")
        self._metadata = _module("tensorflow_serving.apis.get_model_metadata_pb2", "grpc")
        service = _module("tensorflow_serving.apis.prediction_service_pb2_grpc", "grpc")
        limits = [(f"grpc.max_{way}_message_length", _LARGEST_MESSAGE) for way in ("send", "receive")]
        self._channel = self._grpc.insecure_channel(address, options=limits)
        self._stub = service.PredictionServiceStub(self._channel)
        self._model, self._version = model, version

    def predict(self, signature: str, inputs: dict[str, list], output: str, timeout: float) -> np.ndarray:
        """One output of a signature."""
        import tensorflow as tf

        request = self._addressed(self._predict.PredictRequest())
        request.model_spec.signature_name = signature
        request.output_filter.append(output)
        for name, values in inputs.items():
            array = np.array(values, object) if isinstance(values[0], bytes) else np.stack(values)
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        response = self._call(self._stub.Predict, request, timeout)
        return tf.make_ndarray(response.outputs[output])

    def metadata(self, timeout: float) -> dict[str, dict[str, Any]]:
        """The signatures of the model."""
        import tensorflow as tf

        request = self._addressed(self._metadata.GetModelMetadataRequest())
        request.metadata_field.append("signature_def")
        response = self._call(self._stub.GetModelMetadata, request, timeout)
        signatures = self._metadata.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)

        def describe(tensors):
            return {name: [tf.dtypes.as_dtype(info.dtype).name, [side.size for side in info.tensor_shape.dim]]
                    for name, info in tensors.items()}

        return {name: {"inputs": describe(signature.inputs), "outputs": describe(signature.outputs)}
                for name, signature in signatures.signature_def.items()}

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _addressed(self, request: Any) -> Any:
        request.model_spec.name = self._model
        if self._version is not None:
            request.model_spec.version.value = self._version
        return request

    def _call(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return method(request, timeout=timeout)
        except self._grpc.RpcError as error:
            raise ServingError(error.code().name, error.details()) from error


class RestTransport:
    """TensorFlow Serving's REST interface. Pixels travel as text: for float images prefer gRPC.

    Args:
        address: `host:port`, or a URL.
        model: its name on the server.
        version: a number, or None for the latest.
    """

    def __init__(self, address: str, model: str, version: int | None):
        self._requests = _module("requests", "rest")
        base = address if "://" in address else f"http://{address}"
        self._url = f"{base}/v1/models/{model}" + (f"/versions/{version}" if version is not None else "")
        self._session = self._requests.Session()

    def predict(self, signature: str, inputs: dict[str, list], output: str, timeout: float) -> np.ndarray:
        """One output of a signature."""
        body = {name: [_json(value) for value in values] for name, values in inputs.items()}
        answer = self._call("POST", ":predict", timeout, json={"signature_name": signature, "inputs": body})
        return np.asarray(answer["outputs"][output], np.float32)

    def metadata(self, timeout: float) -> dict[str, dict[str, Any]]:
        """The signatures of the model."""
        signatures = self._call("GET", "/metadata", timeout)["metadata"]["signature_def"]["signature_def"]

        def describe(tensors):
            return {name: [info["dtype"].removeprefix("DT_").lower().replace("float", "float32"),
                           [int(side["size"]) for side in info["tensor_shape"].get("dim", [])]]
                    for name, info in tensors.items()}

        return {name: {"inputs": describe(signature["inputs"]), "outputs": describe(signature["outputs"])}
                for name, signature in signatures.items() if not name.startswith("__")}

    def close(self) -> None:
        """Ends the connection."""
        self._session.close()

    def _call(self, method: str, path: str, timeout: float, **body: Any) -> Any:
        try:
            response = self._session.request(method, self._url + path, timeout=timeout, **body)
        except self._requests.Timeout as error:
            raise ServingError("DEADLINE_EXCEEDED", f"no answer within {timeout:.3g} s") from error
        except self._requests.ConnectionError as error:
            raise ServingError("UNAVAILABLE", str(error)) from error
        try:
            answer = response.json()
        except ValueError:
            answer = {"error": response.text[:500]}
        if response.status_code != 200:
            code = _HTTP_CODES.get(response.status_code, f"HTTP_{response.status_code}")
            raise ServingError(code, answer.get("error", response.reason))
        return answer


def _json(value: bytes | np.ndarray) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value.tolist()


def _module(name: str, protocol: str) -> Any:
    return from_extra("serving", name, f"`protocol={protocol}`")
