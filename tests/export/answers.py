"""Servers on the loopback that answer whatever a test wants, in either protocol."""

import contextlib
import json
import threading
import time
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc


class Reset:
    """In place of an answer: the connection is cut after this many bytes of it."""

    def __init__(self, after=0):
        self.after = after


@contextlib.contextmanager
def rest_server(answer, *, port=0, pause=0.0, ssl_context=None):
    """The address of a server; `answer(images)` gives (status, bytes) or a Reset. `pause`: seconds before each byte."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            reply = answer(next(iter(body["inputs"].values())))
            with contextlib.suppress(OSError):  # a client whose deadline has passed
                if isinstance(reply, Reset):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"[: reply.after])
                    self.close_connection = True
                    return
                status, data = reply
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                for start in range(0, len(data), 1 if pause else max(len(data), 1)):
                    time.sleep(pause)
                    self.wfile.write(data[start : start + 1] if pause else data)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    if ssl_context is not None:
        server.socket = ssl_context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    try:
        yield f"localhost:{server.server_port}" if ssl_context else f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def grpc_server(answer, *, credentials=None, options=()):
    """The address of a server; `answer(images)` gives a PredictResponse, or a StatusCode to fail with."""

    class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            reply = answer(tf.make_ndarray(next(iter(request.inputs.values()))))
            if isinstance(reply, grpc.StatusCode):
                context.abort(reply, "as the test wants")
            return reply

    server = grpc.server(futures.ThreadPoolExecutor(2), options=list(options))
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), server)
    if credentials is None:
        address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    else:
        address = f"localhost:{server.add_secure_port('localhost:0', credentials)}"
    server.start()
    try:
        yield address
    finally:
        server.stop(None).wait()


def rest_answer(vectors, output="embedding"):
    """What TensorFlow Serving answers in REST, of any value."""
    return 200, json.dumps({"outputs": {output: np.asarray(vectors).tolist()}}).encode()


def grpc_answer(vectors, output="embedding"):
    """The same in gRPC."""
    response = predict_pb2.PredictResponse()
    response.outputs[output].CopyFrom(tf.make_tensor_proto(np.asarray(vectors)))
    return response


SERVERS = {"rest": (rest_server, rest_answer), "grpc": (grpc_server, grpc_answer)}
