"""A test-only stand-in for TensorFlow Serving: its gRPC and REST interfaces in front of the same C++ session loader."""

import base64
import contextlib
import json
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, predict_pb2, prediction_service_pb2_grpc

from tfcontrastive.export import CppError
from tfcontrastive.export.model_card import meta_graph

_HTTP = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "UNAVAILABLE": 503, "RESOURCE_EXHAUSTED": 429}


class ServingStub:
    """Serves the SavedModel of a `CppSession` as version 1 of `encoder`. Errors put into `faults` are answered first, one
    a request."""

    def __init__(self, path, session):
        self.session = session
        self.faults: list[str] = []
        self.batches: list[int] = []
        self._lock = threading.Lock()
        signatures = meta_graph(path).signature_def.items()
        self.signatures = {name: value for name, value in signatures if not name.startswith("__")}
        self._grpc = grpc.server(futures.ThreadPoolExecutor(4))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Service(self), self._grpc)
        self.grpc_address = f"127.0.0.1:{self._grpc.add_insecure_port('127.0.0.1:0')}"
        self._grpc.start()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self.rest_address = f"127.0.0.1:{self._http.server_port}"
        threading.Thread(target=self._http.serve_forever, daemon=True).start()

    def check(self, model, version):
        if self.faults:
            raise CppError(self.faults.pop(0), "a fault made by the test")
        if model != "encoder" or version not in (0, 1):
            raise CppError("NOT_FOUND", f"Servable not found for request: Specific({model}, {version})")

    def run(self, signature, inputs):
        with self._lock:
            self.batches.append(len(next(iter(inputs.values()))))
            return self.session.run(signature or "serving_default", **inputs)

    def close(self):
        self._grpc.stop(None).wait()
        self._http.shutdown()
        self._http.server_close()


class _Service(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, stub):
        self._stub = stub

    def Predict(self, request, context):
        try:
            self._stub.check(request.model_spec.name, request.model_spec.version.value)
            inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
            outputs = self._stub.run(request.model_spec.signature_name, inputs)
        except CppError as error:
            context.abort(grpc.StatusCode[error.code], error.message)
        response = predict_pb2.PredictResponse()
        for name, value in outputs.items():
            if not request.output_filter or name in request.output_filter:
                response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
        return response

    def GetModelMetadata(self, request, context):
        try:
            self._stub.check(request.model_spec.name, request.model_spec.version.value)
        except CppError as error:
            context.abort(grpc.StatusCode[error.code], error.message)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.metadata["signature_def"].Pack(_signature_map(self._stub))
        return response


def _signature_map(stub):
    signatures = get_model_metadata_pb2.SignatureDefMap()
    for name, value in stub.signatures.items():
        signatures.signature_def[name].CopyFrom(value)
    return signatures


def _handler(stub):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def predict():
                inputs = {name: _decode(name, values) for name, values in request["inputs"].items()}
                outputs = stub.run(request.get("signature_name"), inputs)
                return {"outputs": {name: _json(value) for name, value in outputs.items()}}

            self.answer(self.path.removesuffix(":predict"), predict)

        def do_GET(self):
            def metadata():
                text = json_format.MessageToDict(_signature_map(stub), preserving_proto_field_name=True)
                return {"metadata": {"signature_def": text}}

            self.answer(self.path.removesuffix("/metadata"), metadata)

        def answer(self, model_path, work):
            parts = model_path.split("/")
            try:
                stub.check(parts[3], int(parts[5]) if len(parts) > 5 else 0)
                status, body = 200, work()
            except CppError as error:
                status, body = _HTTP[error.code], {"error": error.message}
            data = json.dumps(body).encode()
            with contextlib.suppress(BrokenPipeError):  # a client whose deadline has passed
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_):
            pass

    return Handler


def _json(value):
    if value.dtype == object:
        return [[text.decode() for text in row] for row in value]
    return value.tolist()


def _decode(name, values):
    if name == "k":
        return np.asarray(values, np.int32)
    if isinstance(values[0], dict):
        return np.array([base64.b64decode(value["b64"]) for value in values], object)
    return np.asarray(values, np.float32)
