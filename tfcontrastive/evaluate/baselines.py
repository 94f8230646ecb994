"""What an encoder has to beat: the pixels themselves, and its own architecture untrained."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from tfcontrastive.data import Preprocessing
from tfcontrastive.encoders.whitening import before_whitening, whitening_of
from tfcontrastive.evaluate.features import extract_features

_SIDE = 32


class RawPixels:
    """The encoder that does nothing: the pixels of images, shrunk to 32 x 32 at most, as features.

    Args:
        preprocessing: how images are cropped and resized before, such as that of the encoder it is compared with.

    Call arguments:
        images: `[B, H, W, C]` in [0, 1].
        training: without effect.

    Returns:
        `[B, F]`, F = min(H, 32) * min(W, 32) * C.
    """

    def __init__(self, preprocessing: Preprocessing | None = None):
        self.preprocessing = preprocessing

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        del training
        height, width, channels = images.shape[1:]
        size = [min(height, _SIDE), min(width, _SIDE)]
        if size != [height, width]:
            images = tf.image.resize(images, size, method="area")
        return tf.reshape(images, [-1, size[0] * size[1] * channels])


def settle_statistics(encoder: Callable[..., Any], batches: Iterable[tf.Tensor]) -> None:
    """Gives a network that was never trained the batch-norm statistics of the data, as a fair comparison needs.

    Args:
        encoder: a `keras.Model`, called with `training=True`.
        batches: of images `[B, H, W, C]` in [0, 1]; about 20 of them.
    """
    for images in batches:
        encoder(images, training=True)


def settle_whitening(encoder: Any, dataset: tf.data.Dataset | Iterable[dict[str, Any]]) -> None:
    """Whitens the features of a network that was never trained, or with labels, by images, as those of a run are in the end.

    Args:
        encoder: nothing is done to one that does not end in a `Whitening`.
        dataset: batches as `extract_features` takes them.
    """
    whitening = whitening_of(encoder)
    if whitening is not None:
        whitening.fit(extract_features(before_whitening(encoder), dataset)[0])
