"""Images as the requests that a client sends: few enough, small enough, and numbered."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tfcontrastive.config import InputError


@dataclasses.dataclass(frozen=True)
class Batch:
    """The images of one request.

    Attributes:
        number: which request of how many images came before, from 1.
        signature, input: what takes them on the server.
        items: whole files, or arrays `[H, W, C]`.
        indices: where each stands among all images.
        end: the index after the last image that was looked at.
    """

    number: int
    signature: str
    input: str
    items: list
    indices: list[int]
    end: int

    @property
    def name(self) -> str:
        """As messages call it."""
        return f"batch {self.number} (images {self.indices[0]} to {self.indices[-1]})"

    def halves(self) -> tuple[Batch, Batch]:
        """The same images, in two batches."""
        middle = len(self.items) // 2
        first, second = (
            dataclasses.replace(self, items=self.items[part], indices=self.indices[part])
            for part in (slice(middle), slice(middle, None))
        )
        return first, second


def batches_of(
    images: Any, batch_size: int, max_bytes: int, largest: int, bad: dict[int, str] | None
) -> Iterator[Batch]:
    """Checks the images at once, and gives them batch by batch: files are read as they are needed.

    Args:
        images: as `EmbeddingClient.embed` takes them.
        batch_size: most images of a batch.
        max_bytes: most bytes of one, unless a single image is larger.
        largest: most bytes of an image.
        bad: takes {index: reason} of files that cannot be read; None raises for them.

    Raises:
        InputError: if the images are of another kind, none, or (without `bad`) cannot be read.
    """
    if isinstance(images, np.ndarray) and images.dtype.kind != "O":
        if images.ndim != 4 or images.dtype != np.float32 or not len(images):
            raise InputError(
                f"`images` must be float32 [N, H, W, C] with N >= 1. Received: {images.dtype} {list(images.shape)}."
            )
        target, contents = ("serving_default", "images"), iter(images)
    else:
        if isinstance(images, str | bytes | os.PathLike):
            raise InputError(f"`images` must be several files, in a list. Received: {type(images).__name__}.")
        images = list(images)
        if not images:
            raise InputError("`images` must hold at least one image. Received: none.")
        for image in images:
            _check_kind(image)
            if bad is None and not isinstance(image, bytes):
                _check_readable(image)
        target, contents = ("image_bytes", "image_bytes"), map(_content, images)
    return _batches(target, contents, batch_size, max_bytes, largest, bad)


def _batches(
    target: tuple[str, str],
    contents: Iterable,
    batch_size: int,
    max_bytes: int,
    largest: int,
    bad: dict[int, str] | None,
) -> Iterator[Batch]:
    number, size, index = 1, 0, -1
    items: list[bytes | np.ndarray] = []
    indices: list[int] = []
    for index, content in enumerate(contents):
        length = 0 if isinstance(content, InputError) else _bytes(content)
        if length > largest:
            content = InputError(
                f"`images` must have at most {largest} bytes each. Received: image {index} of {length}."
            )
        if isinstance(content, np.ndarray) and not np.isfinite(content).all():
            content = InputError(f"`images` must have finite pixels. Received: NaN or infinity in image {index}.")
        if isinstance(content, InputError):
            if bad is None:
                raise content
            bad[index] = str(content)
            continue
        if items and (len(items) == batch_size or size + length > max_bytes):
            yield Batch(number, *target, items, indices, index)
            number, items, indices, size = number + 1, [], [], 0
        items.append(content)
        indices.append(index)
        size += length
    yield Batch(number, *target, items, indices, index + 1)


def _bytes(content: bytes | np.ndarray) -> int:
    return len(content) if isinstance(content, bytes) else content.nbytes


def _check_kind(image: Any) -> None:
    if not isinstance(image, str | os.PathLike | bytes):
        raise InputError(f"`images` must be an array, or paths or bytes of files. Received: {type(image).__name__}.")


def _check_readable(path: str | os.PathLike) -> None:
    try:
        with open(path, "rb"):
            pass
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise _unreadable(path, error) from error


def _content(image: str | os.PathLike | bytes) -> bytes | InputError:
    if isinstance(image, bytes):
        return image
    try:
        with open(image, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:
        return _unreadable(image, error)


def _unreadable(path: str | os.PathLike, error: Exception) -> InputError:
    reason = getattr(error, "strerror", None) or error
    return InputError(f"`images` must be readable files. Received: {os.fspath(path)!r} ({reason}).")
