"""TensorFlow Serving's REST interface."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.export.extras import from_extra
from tfcontrastive.export.serving_error import ServingError
from tfcontrastive.export.tls import Tls

_CODES = {
    400: "INVALID_ARGUMENT",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    412: "FAILED_PRECONDITION",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_LARGEST_ANSWER = 2**30
_CHUNK = 2**16
_SHOWN = 300


class RestTransport:
    """TensorFlow Serving's REST interface. Pixels travel as text: for float images prefer gRPC.

    Args:
        address: `host:port`, or a URL.
        model: its name on the server.
        version: a number, or None for the latest.
        tls: how to encrypt, None for not at all, or as https:// in the address does.

    Raises:
        InputError: if the address is none.
    """

    def __init__(self, address: str, model: str, version: int | None, *, tls: Tls | None):
        self._requests = from_extra("serving", "requests", "`protocol=rest`")
        base = address if "://" in address else f"{'http' if tls is None else 'https'}://{address}"
        _check(base, address, encrypted=tls is not None)
        name = urllib.parse.quote(model, safe="")
        self._url = f"{base.rstrip('/')}/v1/models/{name}" + (f"/versions/{version}" if version is not None else "")
        tls = tls or Tls()
        self._tls = {
            "verify": None
            if tls.roots is None
            else os.fspath(tls.roots),  # None: as the environment says, or the system
            "cert": None if tls.chain is None else (os.fspath(tls.chain), os.fspath(tls.key)),
        }

    def predict(
        self, signature: str, inputs: dict[str, list], outputs: Sequence[str], timeout: float
    ) -> dict[str, np.ndarray]:
        """Some outputs of a signature, by name."""
        body = {name: [_json(value) for value in values] for name, values in inputs.items()}
        answer = self._call("POST", ":predict", timeout, json={"signature_name": signature, "inputs": body})
        found = answer.get("outputs")
        for output in outputs:
            if not isinstance(found, dict) or not isinstance(found.get(output), list):
                raise ServingError(
                    "INTERNAL", f"the answer must hold the output {output!r}. Received: {_shown(answer)}."
                )
        return {output: _array(found[output]) for output in outputs}

    def metadata(self, timeout: float) -> dict[str, dict[str, Any]]:
        """The signatures of the model."""
        answer = self._call("GET", "/metadata", timeout)

        def describe(tensors):
            return {
                name: [
                    info["dtype"].removeprefix("DT_").lower().replace("float", "float32"),
                    [int(side["size"]) for side in info["tensor_shape"].get("dim", [])],
                ]
                for name, info in tensors.items()
            }

        try:
            signatures = answer["metadata"]["signature_def"]["signature_def"]
            return {
                name: {"inputs": describe(signature["inputs"]), "outputs": describe(signature["outputs"])}
                for name, signature in signatures.items()
                if not name.startswith("__")
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ServingError("INTERNAL", f"the metadata must be signatures. Received: {_shown(answer)}.") from error

    def close(self) -> None:
        """Nothing: a connection lives for one request."""

    def _call(self, method: str, path: str, timeout: float, **body: Any) -> dict[str, Any]:
        sockets = _Sockets()
        with self._session(sockets) as session:
            status, content = _within(timeout, lambda: self._exchange(session, method, path, timeout, body), sockets)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError) as error:
            if status == 200:
                raise ServingError("INTERNAL", f"the answer must be JSON. Received: {_shown(content)}.") from error
            answer = None
        if status != 200:
            said = answer.get("error") if isinstance(answer, dict) else None
            raise ServingError(_CODES.get(status, f"HTTP_{status}"), said if isinstance(said, str) else _shown(content))
        if not isinstance(answer, dict):
            raise ServingError("INTERNAL", f"the answer must be a JSON object. Received: {_shown(content)}.")
        return answer

    def _exchange(self, session: Any, method: str, path: str, timeout: float, body: dict) -> tuple[int, bytes]:
        """Sends a request, and reads the whole answer: its status and its content."""
        errors = self._requests.exceptions
        try:
            with session.request(
                method, self._url + path, timeout=timeout, stream=True, allow_redirects=False, **self._tls, **body
            ) as response:
                content = bytearray()
                for chunk in response.iter_content(_CHUNK):
                    content += chunk
                    if len(content) > _LARGEST_ANSWER:
                        raise ServingError("INTERNAL", f"the answer must have at most {_LARGEST_ANSWER} bytes.")
                return response.status_code, bytes(content)
        except errors.Timeout as error:
            raise _late(timeout) from error
        except errors.SSLError as error:  # a certificate does not get better by asking again
            raise ServingError("UNAUTHENTICATED", str(error)) from error
        except (errors.ConnectionError, errors.ChunkedEncodingError) as error:
            raise ServingError("UNAVAILABLE", str(error)) from error
        except errors.RequestException as error:
            raise ServingError("INTERNAL", str(error)) from error

    def _session(self, sockets: _Sockets) -> Any:
        """A session that adds the sockets that it opens."""
        session = self._requests.Session()
        adapter = self._requests.adapters.HTTPAdapter()
        pools = adapter.poolmanager.pool_classes_by_scheme
        adapter.poolmanager.pool_classes_by_scheme = {
            scheme: type(pool.__name__, (pool,), {"ConnectionCls": _adding(pool.ConnectionCls, sockets)})
            for scheme, pool in pools.items()
        }
        for scheme in ("http://", "https://"):
            session.mount(scheme, adapter)
        return session


class _Sockets:
    """The sockets of one exchange, which end with it."""

    def __init__(self):
        self._open: list[socket.socket] = []
        self._lock, self._ended = threading.Lock(), False

    def add(self, opened: socket.socket) -> None:
        """Takes a socket; one that comes too late is shut at once."""
        with self._lock:
            self._open.append(opened)
            if self._ended:
                self._shut()

    def end(self) -> None:
        """Shuts them, which ends whoever waits for one."""
        with self._lock:
            self._ended = True
            self._shut()

    def _shut(self) -> None:
        for opened in self._open:
            with contextlib.suppress(OSError):  # closed already
                socket.socket.shutdown(opened, socket.SHUT_RDWR)


def _adding(connection: type, sockets: _Sockets) -> type:
    """The class of connections, of which each adds its socket."""

    class Connection(connection):
        def connect(self):
            super().connect()
            sockets.add(self.sock)

    return Connection


def _within(timeout: float, work: Callable[[], Any], sockets: _Sockets) -> Any:
    """The result of the work, or DEADLINE_EXCEEDED.

    The time-outs of sockets bound each step alone (an address, a few bytes), so the whole runs in a thread. At the
    deadline its sockets are shut, which ends it.
    """
    outcome: queue.SimpleQueue = queue.SimpleQueue()

    def run():
        try:
            outcome.put((work(), None))
        except Exception as error:  # raised where it is waited for
            outcome.put((None, error))

    start = time.monotonic()
    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = outcome.get(timeout=max(timeout, 1e-3))
    except queue.Empty:
        raise _late(timeout) from None
    finally:
        sockets.end()
    if error is not None:
        raise _late(timeout) if time.monotonic() - start >= timeout else error
    return result


def _late(timeout: float) -> ServingError:
    return ServingError("DEADLINE_EXCEEDED", f"no answer within {timeout:.3g} s")


def _check(base: str, address: str, encrypted: bool) -> None:
    try:
        parts = urllib.parse.urlsplit(base)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        good = good and not (parts.query or parts.fragment)
        parts.hostname.encode("idna")
    except (AttributeError, ValueError):  # UnicodeError is one
        good = False
    if not good:
        raise InputError(f"`address` must be host:port or http(s)://host:port. Received: {address!r}.")
    if encrypted and parts.scheme == "http":
        raise InputError(f"`address` must be https:// with `tls`. Received: {address!r}.")


def _array(values: list) -> np.ndarray:
    try:
        return np.array(values)
    except (ValueError, OverflowError) as error:  # rows of several lengths
        raise ServingError("INTERNAL", f"the output must be an array. Received: {_shown(values)}.") from error


def _json(value: bytes | np.ndarray) -> Any:
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value.tolist()


def _shown(answer: Any) -> str:
    """The beginning of an answer, on one line."""
    text = answer[: 4 * _SHOWN].decode(errors="replace") if isinstance(answer, bytes) else repr(answer)
    return re.sub(r"\s+", " ", text).strip()[:_SHOWN] or "nothing"
