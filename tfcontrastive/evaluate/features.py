"""Features of a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError


def input_shape(encoder: Callable[..., tf.Tensor]) -> tuple[int | None, ...] | None:
    """The `(None, H, W, C)` an encoder was built for, with None where any size will do; None when it does not say."""
    shape = getattr(encoder, "input_shape", None)
    return tuple(shape) if isinstance(shape, tuple | list) and len(shape) == 4 else None


def taken_by(encoder: Any, source: Any) -> Any:
    """A source as an encoder takes it: with as many channels, where its images are files that may have any.

    Args:
        encoder: of any kind; None, and one that does not say what it takes, leave the source as it is.
        source: from `tfcontrastive.data.load`, or None.
    """
    shape = input_shape(encoder)
    decoded_to = getattr(source, "decoded_to", None)  # what only looks like a `Source` need not have it
    return source if shape is None or shape[-1] is None or decoded_to is None else decoded_to(shape[-1])


class _Rows:
    """An array that grows by rows; one that was told how many come is never copied: a million features barely fit once.

    Args:
        expected: at least as many as will come, 0 where not known.
    """

    def __init__(self, expected: int):
        self._expected, self._count = expected, 0
        self._held = np.empty([0, 0], np.float32)

    def append(self, rows: np.ndarray) -> None:
        needed = self._count + len(rows)
        if needed > len(self._held):
            # Room is not memory until it is written to.
            grown = np.empty([max(needed, self._expected, 2 * len(self._held)), rows.shape[1]], np.float32)
            if self._count:
                grown[: self._count] = self._held[: self._count]
            self._held = grown
        self._held[self._count : needed] = rows
        self._count = needed

    def array(self) -> np.ndarray:
        return self._held[: self._count]


def _number_of_batches(dataset: Any) -> int:
    try:
        return len(dataset)
    except TypeError:  # a generator, or a dataset that cannot tell
        return 0


class FeatureExtractor:
    """Maps datasets of images to arrays of features, compiled once for all of them.

    Keep one where the same encoder is measured again and again, such as after every epoch: its new weights are seen,
    and nothing is traced twice.

    Args:
        encoder: `keras.Model`, loaded SavedModel or any function `(images, training=False)`: `[B, H, W, C]` float32 in
            [0, 1] -> `[B, F]`.
    """

    def __init__(self, encoder: Callable[..., tf.Tensor]):
        self.encoder = encoder
        self._compiled: dict[tuple[int, ...], Callable[[tf.Tensor], tf.Tensor]] = {}

    def __call__(self, dataset: tf.data.Dataset | Iterable[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Runs the encoder in inference mode over `{"image": [b, H, W, C], "label": [b]}` batches.

        Returns:
            Features, float32 `[N, F]`, and labels, int32 `[N]`, in the dataset's order.

        Raises:
            InputError: for an empty dataset, images that the encoder cannot take, or an output other than `[B, F]`.
        """
        rows, labels = None, []
        for batch in dataset:
            images = tf.cast(batch["image"], tf.float32)
            if rows is None:
                self._check(images.shape)
                rows = _Rows(_number_of_batches(dataset) * len(images))
                forward = self._forward(tuple(images.shape[1:]))
            output = forward(images)
            if output.shape.rank != 2:
                raise InputError(f"`encoder` must map images to [B, F]. Received: an output of shape {output.shape}.")
            rows.append(output.numpy())
            labels.append(np.asarray(batch["label"], np.int32))
        if rows is None:
            raise InputError("`dataset` must hold at least one batch. Received: none.")
        return rows.array(), np.concatenate(labels)

    def _forward(self, shape: tuple[int, ...]) -> Callable[[tf.Tensor], tf.Tensor]:
        if shape not in self._compiled:
            # The encoder may return bfloat16; statistics on it are taken in float32.
            self._compiled[shape] = distribute.over_replicas(
                lambda images: tf.cast(self.encoder(images, training=False), tf.float32), shape
            )
        return self._compiled[shape]

    def _check(self, images: tf.TensorShape) -> None:
        wanted = input_shape(self.encoder)
        if wanted is None:
            return
        if any(want not in (None, got) for want, got in zip(wanted[1:], images[1:], strict=True)):
            shape = " x ".join("any" if size is None else str(size) for size in wanted[1:])
            got = " x ".join(map(str, images[1:]))
            raise InputError(f"The images must fit the encoder's input, {shape}. Received: images of {got}.")


def projected(head: Callable[..., tf.Tensor], features: np.ndarray, rows_at_a_time: int = 4096) -> np.ndarray:
    """What a head makes of features `[N, F]` in inference mode: float32 `[N, D]`."""
    pieces = [features[start : start + rows_at_a_time] for start in range(0, len(features), rows_at_a_time)]
    return np.concatenate([tf.cast(head(tf.constant(piece), training=False), tf.float32).numpy() for piece in pieces])


def extract_features(
    encoder: Callable[..., tf.Tensor], dataset: tf.data.Dataset | Iterable[dict[str, Any]]
) -> tuple[np.ndarray, np.ndarray]:
    """The features of a frozen encoder, and the labels beside them.

    Args:
        encoder: `keras.Model`, loaded SavedModel or any function `(images, training=False)`: `[B, H, W, C]` float32 in
            [0, 1] -> `[B, F]`. It runs in inference mode.
        dataset: batches `{"image": [b, H, W, C], "label": int [b]}`, as from `tfcontrastive.data.eval_batches`.

    Returns:
        Features, float32 `[N, F]`, and labels, int32 `[N]`.

    Raises:
        InputError: for an empty dataset, images that the encoder cannot take, or an output other than `[B, F]`.

    Examples:
        >>> batches = [{"image": tf.ones([2, 4, 4, 1]), "label": [0, 1]}]
        >>> features, labels = extract_features(lambda images, training: tf.reduce_sum(images, [1, 2]), batches)
        >>> features.tolist(), labels.tolist()
        ([[16.0], [16.0]], [0, 1])
    """
    return FeatureExtractor(encoder)(dataset)
