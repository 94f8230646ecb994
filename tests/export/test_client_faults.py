"""One deadline over everything, retries where they help, and connections that are encrypted."""

import contextlib
import json
import pathlib
import socket
import ssl
import subprocess
import threading
import time
import types
from concurrent import futures

import numpy as np
import pytest

pytest.importorskip("tensorflow_serving", reason="the extra [serving]")

import grpc

from tests.export.answers import Reset, grpc_answer, grpc_server, rest_answer, rest_server
from tfcontrastive.config import InputError
from tfcontrastive.export import EmbeddingClient, ServingError

IMAGES = np.zeros([2, 2, 2, 1], np.float32)
VECTORS = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)


def embed(address, protocol="rest", **options):
    with EmbeddingClient(address, protocol=protocol, **{"timeout": 5.0, "backoff": 0.01, **options}) as client:
        return client.embed(IMAGES)


@contextlib.contextmanager
def dripping(greeting):
    """A server that accepts, sends the greeting, and then one byte after another without end."""
    stop = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            connection, _ = listener.accept()
            with connection:
                connection.sendall(greeting)
                while not stop.wait(0.05):
                    connection.sendall(b" ")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}", thread
    finally:
        stop.set()
        listener.close()


@pytest.mark.parametrize(
    "greeting",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n{",
    ],
    ids=["silent", "headers", "body", "endless body"],
)
def test_the_deadline_holds_over_an_answer_that_drips(greeting):
    with dripping(greeting) as (address, server):
        with pytest.raises(ServingError) as caught:
            embed(address, timeout=0.4)
        assert caught.value.code == "DEADLINE_EXCEEDED"
        server.join(20)
        assert not server.is_alive(), "the connection is given up"


@pytest.mark.parametrize(
    "fault",
    [
        Reset(),
        Reset(10),
        Reset(45),
        (503, b'["overloaded"]'),
        (503, b"<html>"),
        (502, b""),
        (429, b'{"error": "busy"}'),
    ],
    ids=["cut", "cut in the status", "cut in the body", "list", "html", "bad gateway", "busy"],
)
def test_a_passing_fault_of_rest_is_retried(fault):
    faults = [fault] * 3
    with rest_server(lambda images: faults.pop() if faults else rest_answer(VECTORS)) as address:
        np.testing.assert_array_equal(embed(address), VECTORS)
    assert not faults


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED", "ABORTED", "RESOURCE_EXHAUSTED"])
def test_a_passing_fault_of_grpc_is_retried(code):
    faults = [grpc.StatusCode[code]] * 6  # more than a fixed number of retries was
    with grpc_server(lambda images: faults.pop() if faults else grpc_answer(VECTORS)) as address:
        np.testing.assert_array_equal(embed(address, "grpc"), VECTORS)
    assert not faults


def test_a_lasting_fault_that_looks_passing_ends_at_the_deadline():
    with (
        rest_server(lambda images: (503, b'["overloaded"]')) as address,
        pytest.raises(ServingError, match="overloaded") as caught,
    ):
        embed(address, timeout=0.3)
    assert caught.value.code == "UNAVAILABLE"


def test_a_pause_that_takes_longer_than_the_deadline_hides_nothing_of_what_the_server_said(monkeypatch):
    slow = types.SimpleNamespace(monotonic=time.monotonic, sleep=lambda seconds: time.sleep(seconds + 0.6))
    monkeypatch.setattr("tfcontrastive.export.client.time", slow)  # of the client alone
    with (
        rest_server(lambda images: (503, b'["overloaded"]')) as address,
        pytest.raises(ServingError, match="overloaded"),
    ):
        embed(address, timeout=0.5)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_a_server_that_comes_back_is_found(protocol):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    received = []
    client = threading.Thread(
        target=lambda: received.append(embed(f"127.0.0.1:{port}", protocol, timeout=20.0, backoff=0.1))
    )
    client.start()
    time.sleep(1.7)  # more than the pauses of four retries
    if protocol == "rest":
        with rest_server(lambda images: rest_answer(VECTORS), port=port):
            client.join()
    else:
        listening = grpc.server(futures.ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: grpc_answer(VECTORS).SerializeToString())
        name = "tensorflow.serving.PredictionService"
        listening.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, {"Predict": handler})])
        listening.add_insecure_port(f"127.0.0.1:{port}")
        listening.start()
        client.join()
        listening.stop(None).wait()
    np.testing.assert_array_equal(received[0], VECTORS)


def test_a_message_that_is_too_large_is_not_sent_again():
    asked = []

    def answer(images):
        asked.append(len(images))
        return grpc_answer(np.zeros([2, 2000], np.float32))

    limits = {"grpc.max_receive_message_length": 1000, "grpc.max_send_message_length": 2**20}
    with grpc_server(answer) as address, pytest.raises(ServingError, match="larger than max") as caught:
        embed(address, "grpc", channel_options=limits)
    assert caught.value.code == "RESOURCE_EXHAUSTED"
    assert len(asked) == 1
    with grpc_server(answer) as address:
        assert embed(address, "grpc").shape == (2, 2000)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = [str(folder / "cert.pem"), str(folder / "key.pem")]
    try:
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-out",
                paths[0],
                "-keyout",
                paths[1],
            ],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl makes the certificate")
    return paths


def grpc_credentials(certificate, ask=False):
    chain, key = (pathlib.Path(path).read_bytes() for path in certificate)
    return grpc.ssl_server_credentials(
        [(key, chain)], root_certificates=chain if ask else None, require_client_auth=ask
    )


@contextlib.contextmanager
def encrypted(protocol, certificate, ask=False):
    if protocol == "grpc":
        with grpc_server(
            lambda images: grpc_answer(VECTORS), credentials=grpc_credentials(certificate, ask)
        ) as address:
            yield address
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if ask:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certificate[0])
    with rest_server(lambda images: rest_answer(VECTORS), ssl_context=context) as address:
        yield address


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_tls(protocol, certificate):
    with encrypted(protocol, certificate) as address:
        np.testing.assert_array_equal(embed(address, protocol, tls=certificate[0]), VECTORS)
        with pytest.raises(ServingError):  # a certificate that nobody vouches for
            embed(address, protocol, tls=True, timeout=1.0)
    with encrypted(protocol, certificate, ask=True) as address:
        received = embed(address, protocol, tls=certificate[0], client_certificate=tuple(certificate))
        np.testing.assert_array_equal(received, VECTORS)
        with pytest.raises(ServingError):
            embed(address, protocol, tls=certificate[0], timeout=1.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timeout": float("nan")}, "`timeout` must be > 0"),
        ({"timeout": 0}, "`timeout` must be > 0"),
        ({"timeout": float("inf")}, "`timeout` must be > 0"),
        ({"backoff": -1}, "`backoff` must be >= 0"),
        ({"batch_size": 2.5}, "`batch_size` must be a whole number"),
        ({"max_bytes": 2**40}, "`max_bytes` must be <="),
        ({"version": -1}, "`version` must be >= 0"),
        ({"retries": -1}, "`retries` must be >= 0"),
        ({"model": ""}, "`model` must be a text"),
        ({"tls": "nowhere.pem"}, "`tls` must be readable PEM files"),
        ({"client_certificate": ("a", "b")}, "`client_certificate` needs `tls`"),
        ({"tls": True, "client_certificate": ("a",)}, "must be a pair of files"),
        ({"channel_options": {"grpc.x": object()}}, "`channel_options` must be options"),
        ({"protocol": "rest", "channel_options": {"grpc.x": 1}}, "`channel_options` must be left out"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        EmbeddingClient("localhost:1", **options)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "local host:1",
        "http://",
        "ftp://localhost",
        "localhost:port",
        "a\n:1",
        "http://localhost:99999",
        "http://" + "a" * 70 + ":1",
    ],
)
def test_bad_addresses_are_refused(address):
    with pytest.raises(InputError, match="`address` must be"):
        EmbeddingClient(address, protocol="rest")


def test_a_closed_client_is_refused():
    for protocol in ("rest", "grpc"):
        client = EmbeddingClient("127.0.0.1:1", protocol=protocol)
        client.close()
        with pytest.raises(InputError, match="after close"):
            client.embed(IMAGES)


def test_metadata_of_another_kind():
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        body = json.dumps({"metadata": [1]}).encode()

        def serve():
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

        threading.Thread(target=serve, daemon=True).start()
        client = stack.enter_context(EmbeddingClient(f"127.0.0.1:{listener.getsockname()[1]}", protocol="rest"))
        with pytest.raises(ServingError, match="metadata must be signatures"):
            client.metadata()
