"""Embeddings from a model that TensorFlow Serving runs."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.client_batches import Batch, batches_of
from tfcontrastive.export.grpc_transport import GrpcTransport
from tfcontrastive.export.nearest_answer import Nearest, found
from tfcontrastive.export.reasons import image_reason
from tfcontrastive.export.rest_transport import RestTransport
from tfcontrastive.export.serving_error import ServingError
from tfcontrastive.export.tls import Tls

PROTOCOLS = ("grpc", "rest")

_TRANSIENT = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"}
_CUT = ("Stream removed", "RST_STREAM", "Connection reset", "Socket closed")  # gRPC: UNKNOWN or INTERNAL
_LARGEST_REQUEST = 2**30
_LONGEST_TIMEOUT = 1e6
_LONGEST_PAUSE = 2.0


class EmbeddingClient:
    """Sends images to a server and gets vectors, in batches, with deadlines and retries.

    Requests that fail for now (the server is away, overloaded or starting) are repeated until the deadline, after
    `backoff * 2^attempt` seconds times a random factor in [.5, 1], 2 s at most. What cannot become better, such as a
    wrong argument or a message that is too large, raises at once. Each answer is checked: one finite vector for each
    image, all of one length.

    Args:
        address: `host:port`; by default gRPC listens on 8500 and REST on 8501.
        model: the model's name on the server.
        version: a version, or None for the latest.
        protocol: grpc or rest; both need the extra `serving`.
        batch_size: most images in a request.
        max_bytes: most bytes of image data in a request, 2^30 at most; one larger image is sent alone.
        timeout: seconds for each request, from connecting to the last byte of the answer, its retries included.
        retries: most repetitions of a request, None for as many as `timeout` allows.
        backoff: seconds before the first.
        tls: True to encrypt, trusting the system's certificates, or a PEM file of those to trust.
        client_certificate: PEM files (certificate, private key) for a server that asks for them; needs `tls`.
        channel_options: gRPC's own, such as `{"grpc.max_receive_message_length": 2**31 - 1}`.

    Raises:
        InputError: for a wrong argument.

    Examples:
        >>> with EmbeddingClient("localhost:8500") as client:
        ...     vectors = client.embed(["cat.jpg", "dog.png"])  # [2, D]
        ...     vectors = client.embed(np.zeros([2, 28, 28, 1], np.float32), normalize=True)
        ...     vectors, bad = client.embed_readable(["cat.jpg", "none.jpg"])  # {index: reason} of those without a vector
        ...     ids, similarities, labels = client.nearest(["cat.jpg"], k=5)  # of a model with an index
    """

    def __init__(
        self,
        address: str,
        *,
        model: str = "encoder",
        version: int | None = None,
        protocol: str = "grpc",
        batch_size: int = 32,
        max_bytes: int = 2**24,
        timeout: float = 30.0,
        retries: int | None = None,
        backoff: float = 0.1,
        tls: bool | str | os.PathLike = False,
        client_certificate: tuple[str | os.PathLike, str | os.PathLike] | None = None,
        channel_options: Mapping[str, int | str] | None = None,
    ):
        if protocol not in PROTOCOLS:
            raise InputError(f"`protocol` {unknown(protocol, PROTOCOLS)}")
        for name, value in (("address", address), ("model", model)):
            if not isinstance(value, str) or not value or not value.isprintable() or " " in value:
                raise InputError(f"`{name}` must be a text without spaces. Received: {name}={value!r}.")
        _check_numbers(
            version=version,
            batch_size=batch_size,
            max_bytes=max_bytes,
            timeout=timeout,
            retries=retries,
            backoff=backoff,
        )
        security = _security(tls, client_certificate)
        if protocol == "grpc":
            options = channel_options or {}
            self._transport: GrpcTransport | RestTransport = GrpcTransport(
                address, model, version, tls=security, options=options
            )
        elif channel_options:
            raise InputError("`channel_options` must be left out with protocol='rest': they are gRPC's.")
        else:
            self._transport = RestTransport(address, model, version, tls=security)
        self._batch_size, self._max_bytes = batch_size, max_bytes
        self._timeout, self._retries, self._backoff = timeout, retries, backoff
        self._closed = False

    def embed(self, images: np.ndarray | Sequence[str | os.PathLike | bytes], *, normalize: bool = False) -> np.ndarray:
        """The embeddings of the images, in their order.

        Args:
            images: float32 `[N, H, W, C]` in [0, 1], preprocessed; or image files: paths or bytes.
            normalize: True for unit length.

        Returns:
            float32 `[N, D]`.

        Raises:
            InputError: if the images are none of these, or none at all.
            ServingError: what the server answered, or what is wrong with the answer, with its canonical code. The
                message names the batch, or the one image that the server refuses.
        """
        dim, vectors = None, []
        for batch in self._batches(images):
            vectors.append(self._vectors(batch, normalize, dim, bad=None))
            dim = vectors[-1].shape[1]
        return np.concatenate(vectors)

    def embed_readable(
        self, images: np.ndarray | Sequence[str | os.PathLike | bytes], *, normalize: bool = False
    ) -> tuple[np.ndarray, dict[int, str]]:
        """As `embed`, but goes on without the images that cannot be read or that the server refuses.

        One such image in a batch of B costs about `2 log2(B)` requests more.

        Args:
            images: as for `embed`.
            normalize: True for unit length.

        Returns:
            float32 `[N, D]`, NaN in the rows of images without a vector, and `{index: reason}` of these. D is 0 where
            no image has one.

        Raises:
            InputError, ServingError: as `embed`, for all that does not lie in an image.
        """
        bad: dict[int, str] = {}
        found: dict[int, np.ndarray] = {}
        dim, count = None, 0
        for batch in self._batches(images, bad):
            rows = self._vectors(batch, normalize, dim, bad) if batch.items else np.zeros([0, 0], np.float32)
            good = [index for index in batch.indices if index not in bad]
            dim = rows.shape[1] if len(rows) else dim
            found.update(zip(good, rows, strict=True))
            count = batch.end
        vectors = np.full([count, dim or 0], np.nan, np.float32)
        for index, row in found.items():
            vectors[index] = row
        return vectors, dict(sorted(bad.items()))

    def nearest(self, images: np.ndarray | Sequence[str | os.PathLike | bytes], *, k: int = 10) -> Nearest:
        """The k nearest rows of the index inside the served model, see `save_model`'s `index`.

        Args:
            images: as for `embed`.
            k: from 1 to the rows of the index.

        Returns:
            `Nearest(ids, similarities, labels)`, each `[N, k]`, from the nearest on; a label is "" where there is none.

        Raises:
            InputError, ServingError: as `embed`; NOT_FOUND where the model has no index.
        """
        if isinstance(k, bool) or not isinstance(k, int | np.integer) or not 1 <= k < 2**31:
            raise InputError(f"`k` must be a whole number >= 1. Received: k={k!r}.")
        parts = [self._search(batch, int(k)) for batch in self._batches(images)]
        return Nearest(*(np.concatenate(part) for part in zip(*parts, strict=True)))

    def metadata(self) -> dict[str, dict[str, Any]]:
        """The server's signatures: {signature: {"inputs": {name: [dtype, shape]}, "outputs": ...}}; -1 is any size.

        Raises:
            ServingError: as `embed`.
        """
        return self._retried(self._transport.metadata)

    def close(self) -> None:
        """Ends the connection."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> EmbeddingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _batches(self, images: Any, bad: dict[int, str] | None = None) -> Iterator[Batch]:
        return batches_of(images, self._batch_size, self._max_bytes, _LARGEST_REQUEST, bad)

    def _vectors(self, batch: Batch, normalize: bool, dim: int | None, bad: dict[int, str] | None) -> np.ndarray:
        """The vectors of a batch, float32 `[n, D]`, without those that are put into `bad`."""
        output = "embedding_l2" if normalize else "embedding"
        try:
            answer = self._retried(
                lambda timeout: self._transport.predict(batch.signature, {batch.input: batch.items}, [output], timeout)
            )
            return _checked(answer[output], len(batch.items), dim)
        except ServingError as error:
            if error.code != "INVALID_ARGUMENT":
                raise ServingError(error.code, f"{batch.name}: {error.message}") from error
            if len(batch.items) == 1:
                reason = image_reason(error.message)
                if bad is None:
                    raise ServingError(error.code, f"image {batch.indices[0]} is refused, since it {reason}") from error
                bad[batch.indices[0]] = reason
                return np.zeros([0, dim or 0], np.float32)
        # One image fails all that are sent with it. Halves find it.
        parts = []
        for half in batch.halves():
            parts.append(self._vectors(half, normalize, dim, bad))
            dim = parts[-1].shape[1] or dim
        return np.concatenate([part for part in parts if len(part)] or parts[:1])

    def _search(self, batch: Batch, k: int) -> Nearest:
        signature = {"serving_default": "nearest", "image_bytes": "nearest_bytes"}[batch.signature]
        inputs = {batch.input: batch.items, "k": [np.int32(k)] * len(batch.items)}
        try:
            answer = self._retried(lambda timeout: self._transport.predict(signature, inputs, Nearest._fields, timeout))
            return found(answer, len(batch.items), k)
        except ServingError as error:
            raise ServingError(error.code, f"{batch.name}: {error.message}") from error

    def _retried(self, call: Callable[[float], Any]) -> Any:
        if self._closed:
            raise InputError("the client must be open. Received: a request after close().")
        deadline = time.monotonic() + self._timeout
        longest = min(_LONGEST_PAUSE, self._timeout / 8)
        attempt, said = 0, None
        while said is None or time.monotonic() < deadline:  # a pause may take longer than it should
            try:
                return call(deadline - time.monotonic())
            except ServingError as error:
                if said is not None and error.code == "DEADLINE_EXCEEDED":
                    break
                pause = min(self._backoff * 2.0 ** min(attempt, 64), longest) * random.uniform(0.5, 1)
                if not _passing(error) or attempt == self._retries or time.monotonic() + pause >= deadline:
                    raise
                said = error
            time.sleep(pause)
            attempt += 1
        raise said  # the reason, where the time ran out while it was asked again


def _passing(error: ServingError) -> bool:
    """Whether the same request may succeed later."""
    if error.code == "RESOURCE_EXHAUSTED":  # also what gRPC says of messages that no one will ever take
        return "larger than max" not in error.message
    if error.code in ("UNKNOWN", "INTERNAL"):
        return any(sign in error.message for sign in _CUT)
    return error.code in _TRANSIENT


def _checked(answer: np.ndarray, rows: int, dim: int | None) -> np.ndarray:
    """The answer as float32 `[rows, D]`, if it is one: a missing row would give its vector to another image."""
    wanted = f"[{rows}, {'D' if dim is None else dim}]"
    if answer.dtype.kind not in "fiu" and answer.dtype.name != "bfloat16":
        raise ServingError("INTERNAL", f"the answer must hold numbers. Received: values of type {answer.dtype}.")
    if answer.ndim != 2 or len(answer) != rows or answer.shape[1] == 0 or dim not in (None, answer.shape[1]):
        raise ServingError("INTERNAL", f"the answer must be vectors {wanted}. Received: shape {list(answer.shape)}.")
    with np.errstate(over="ignore"):
        vectors = answer.astype(np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        raise ServingError(
            "INTERNAL", f"the answer must be finite vectors. Received: NaN or infinity in row {int(np.argmin(finite))}."
        )
    return vectors


def _check_numbers(**given: float | None) -> None:
    whole = {
        "version": (0, 2**63 - 1),
        "batch_size": (1, 2**31),
        "max_bytes": (1, _LARGEST_REQUEST),
        "retries": (0, 2**31),
    }
    for name, (least, most) in whole.items():
        value = given[name]
        if value is None and name in ("version", "retries"):
            continue
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise InputError(f"`{name}` must be a whole number. Received: {name}={value!r}.")
        if value < least:
            raise InputError(f"`{name}` must be >= {least}. Received: {name}={value}.")
        if value > most:
            raise InputError(f"`{name}` must be <= {most}. Received: {name}={value}.")
    for name, bound in (("timeout", "> 0"), ("backoff", ">= 0")):
        value = given[name]
        good = isinstance(value, int | float | np.number) and math.isfinite(value) and value <= _LONGEST_TIMEOUT
        if not good or value < 0 or (bound == "> 0" and value == 0):
            raise InputError(
                f"`{name}` must be {bound} seconds, {_LONGEST_TIMEOUT:g} at most. Received: {name}={value}."
            )


def _security(tls: bool | str | os.PathLike, certificate: tuple | None) -> Tls | None:
    if not tls:
        if certificate is not None:
            raise InputError("`client_certificate` needs `tls`. Received: tls=False.")
        return None
    if certificate is not None and (not isinstance(certificate, tuple | list) or len(certificate) != 2):
        raise InputError("`client_certificate` must be a pair of files: (certificate, private key).")
    return Tls(None if tls is True else tls, *(certificate or ()))
