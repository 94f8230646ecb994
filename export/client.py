"""Embeddings from a model that TensorFlow Serving runs."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tfcontrastive.config import InputError, unknown
from tfcontrastive.export.transport import GrpcTransport, RestTransport, ServingError

TRANSPORTS = {"grpc": GrpcTransport, "rest": RestTransport}

_TRANSIENT = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "ABORTED"}


class EmbeddingClient:
    """Sends images to a server and gets vectors, in batches, with deadlines and retries.

    Requests that fail for now (the server is away, overloaded or changing versions) are repeated after
    `backoff * 2^attempt` seconds times a random factor in [.5, 1], while the deadline allows. All others raise at once.

    Args:
        address: `host:port`; by default gRPC listens on 8500 and REST on 8501.
        model: the model's name on the server.
        version: a version, or None for the latest.
        protocol: grpc (needs the extra `serving`) or rest.
        batch_size: most images in a request.
        max_bytes: most bytes of image data in a request; one larger image is sent alone.
        timeout: seconds for each request, its retries included.
        retries: most repetitions of a request.
        backoff: seconds before the first.

    Raises:
        InputError: for a wrong argument.

    Example:

    ```python
    with EmbeddingClient("localhost:8500") as client:
        vectors = client.embed(["cat.jpg", "dog.png"])          # [2, D]
        vectors = client.embed(np.zeros([2, 224, 224, 3], np.float32), normalize=True)
    ```
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
        retries: int = 4,
        backoff: float = 0.1,
    ):
        if protocol not in TRANSPORTS:
            raise InputError(f"`protocol` {unknown(protocol, TRANSPORTS)}")
        rules = {"batch_size": (batch_size, 1), "max_bytes": (max_bytes, 1), "retries": (retries, 0)}
        for name, (value, least) in rules.items():
            if value < least:
                raise InputError(f"`{name}` must be >= {least}. Received: {name}={value}.")
        if timeout <= 0:
            raise InputError(f"`timeout` must be > 0. Received: timeout={timeout}.")
        self._transport = TRANSPORTS[protocol](address, model, version)
        self._batch_size, self._max_bytes = batch_size, max_bytes
        self._timeout, self._retries, self._backoff = timeout, retries, backoff

    def embed(
        self, images: np.ndarray | Sequence[str | os.PathLike | bytes], *, normalize: bool = False
    ) -> np.ndarray:
        """The embeddings of the images, in their order.

        Args:
            images: float32 `[N, H, W, C]` in [0, 1], preprocessed; or image files: paths or bytes.
            normalize: True for unit length.

        Returns:
            float32 `[N, D]`.

        Raises:
            InputError: if the images are none of these, or none at all.
            ServingError: what the server answered, with its canonical code.
        """
        output = "embedding_l2" if normalize else "embedding"
        if isinstance(images, np.ndarray) and images.dtype.kind != "O":
            if images.ndim != 4 or images.dtype != np.float32 or not len(images):
                raise InputError("`images` must be float32 [N, H, W, C] with N >= 1. "
                                 f"Received: {images.dtype} {list(images.shape)}.")
            signature, name, items = "serving_default", "images", list(images)
        else:
            signature, name, items = "image_bytes", "image_bytes", [_content(image) for image in images]
        if not items:
            raise InputError("`images` must hold at least one image. Received: none.")
        vectors = [self._request(signature, {name: batch}, output) for batch in self._batches(items)]
        return np.concatenate(vectors)

    def metadata(self) -> dict[str, dict[str, Any]]:
        """The server's signatures: {signature: {"inputs": {name: [dtype, shape]}, "outputs": ...}}; -1 is any size."""
        return self._retried(self._transport.metadata)

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def __enter__(self) -> EmbeddingClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _request(self, signature: str, inputs: dict[str, list], output: str) -> np.ndarray:
        vectors = self._retried(lambda timeout: self._transport.predict(signature, inputs, output, timeout))
        return np.asarray(vectors, np.float32)

    def _retried(self, call: Callable[[float], Any]) -> Any:
        deadline = time.monotonic() + self._timeout
        attempt = 0
        while True:
            try:
                return call(deadline - time.monotonic())
            except ServingError as error:
                pause = self._backoff * 2**attempt * random.uniform(0.5, 1)
                if error.code not in _TRANSIENT or attempt == self._retries or time.monotonic() + pause >= deadline:
                    raise
            time.sleep(pause)
            attempt += 1

    def _batches(self, items: list) -> Iterator[list]:
        batch, size = [], 0
        for item in items:
            length = len(item) if isinstance(item, bytes) else item.nbytes
            if batch and (len(batch) == self._batch_size or size + length > self._max_bytes):
                yield batch
                batch, size = [], 0
            batch.append(item)
            size += length
        yield batch


def _content(image: str | os.PathLike | bytes) -> bytes:
    if isinstance(image, bytes):
        return image
    if not isinstance(image, str | os.PathLike):
        raise InputError(f"`images` must be an array, or paths or bytes of files. Received: {type(image).__name__}.")
    try:
        with open(image, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(f"`images` must be readable files. Received: {image!r} ({error.strerror}).") from error
