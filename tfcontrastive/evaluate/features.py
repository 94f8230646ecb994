"""Features of a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError


def input_shape(encoder: Callable[..., tf.Tensor]) -> tuple[int | None, ...] | None:
    """The `(None, H, W, C)` an encoder was built for, with None where any size will do; None when it does not say."""
    shape = getattr(encoder, "input_shape", None)
    return tuple(shape) if isinstance(shape, tuple | list) and len(shape) == 4 else None


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
        # The encoder may return bfloat16; statistics on it are taken in float32.
        self._forward = tf.function(lambda images: tf.cast(encoder(images, training=False), tf.float32))

    def __call__(self, dataset: tf.data.Dataset | Iterable[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
        """Runs the encoder in inference mode over `{"image": [b, H, W, C], "label": [b]}` batches.

        Returns:
            Features, float32 `[N, F]`, and labels, int32 `[N]`, in the dataset's order.

        Raises:
            InputError: for an empty dataset, images that the encoder cannot take, or an output other than `[B, F]`.
        """
        features, labels = [], []
        for batch in dataset:
            images = tf.cast(batch["image"], tf.float32)
            if not features:
                self._check(images.shape)
                # Of any batch size, so that the short last batch is not traced anew.
                forward = self._forward.get_concrete_function(tf.TensorSpec([None, *images.shape[1:]], tf.float32))
            output = forward(images)
            if output.shape.rank != 2:
                raise InputError(f"`encoder` must map images to [B, F]. Received: an output of shape {output.shape}.")
            features.append(output.numpy())
            labels.append(np.asarray(batch["label"], np.int32))
        if not features:
            raise InputError("`dataset` must hold at least one batch. Received: none.")
        return np.concatenate(features), np.concatenate(labels)

    def _check(self, images: tf.TensorShape) -> None:
        wanted = input_shape(self.encoder)
        if wanted is None:
            return
        if any(want not in (None, got) for want, got in zip(wanted[1:], images[1:], strict=True)):
            shape = " x ".join("any" if size is None else str(size) for size in wanted[1:])
            got = " x ".join(map(str, images[1:]))
            raise InputError(f"The images must fit the encoder's input, {shape}. Received: images of {got}.")


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

    >>> batches = [{"image": tf.ones([2, 4, 4, 1]), "label": [0, 1]}]
    >>> features, labels = extract_features(lambda images, training: tf.reduce_sum(images, [1, 2]), batches)
    >>> features.tolist(), labels.tolist()
    ([[16.0], [16.0]], [0, 1])
    """
    return FeatureExtractor(encoder)(dataset)
