"""Features that vary alike in every direction, by the mean and covariance of images without labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError

SHRINKAGE = 0.3
"""Of the covariance: what is added to every direction's variance, of their mean, where images are many."""

_ROWS = 4096  # multiplied at a time


@keras.saving.register_keras_serializable("tfcontrastive")
class Whitening(keras.layers.Layer):
    r"""Whitens features `[B, F]` by the mean and covariance of others: afterwards no direction counts more than another.

    $$ y = (x - \mu) \left( \Sigma + \epsilon \frac{\mathrm{tr}\, \Sigma}{F} I \right)^{-1/2}, \quad
       \epsilon = 0.3 \left( 1 + \frac{F}{N} \right)^2 $$

    The few directions in which features vary most rule the cosine and the distance of two of them, however little they tell.
    The root is the symmetric one, so that each feature stays as near to itself as it can. $\epsilon$ keeps directions of
    hardly any variance, which are noise, from being blown up; more where images are few.

    No gradient moves it. Until `fit` it gives its inputs back, after `reset` too.

    Args:
        **kwargs: of `keras.layers.Layer`.

    Call arguments:
        inputs: `[B, F]`.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=(1000, 2)) * [1.0, 9.0]
        >>> whitening = Whitening()
        >>> whitening.build((None, 2))
        >>> whitening.fit(x)
        >>> np.cov(whitening(x), rowvar=False).round(1).tolist()
        [[0.1, -0.0], [-0.0, 0.9]]

    Source: Kessy, Lewin and Strimmer, "Optimal whitening and decorrelation", arXiv 1512.00809 (ZCA).
    """

    def build(self, input_shape):
        width = input_shape[-1]
        self.mean = self.add_weight(shape=(width,), initializer="zeros", trainable=False, name="mean")
        self.kernel = self.add_weight(shape=(width, width), initializer="identity", trainable=False, name="kernel")

    def call(self, inputs):
        return tf.matmul(inputs - self.mean, self.kernel)

    def compute_output_shape(self, input_shape):
        return input_shape

    @property
    def fitted(self) -> bool:
        """Whether it does anything."""
        return not np.array_equal(keras.ops.convert_to_numpy(self.kernel), np.eye(self.kernel.shape[0]))

    def fit(self, features: np.ndarray) -> None:
        """Takes mean and covariance of features `[N, F]`; those that do not vary at all are left as they are.

        Args:
            features: N >= 2, finite.

        Raises:
            InputError: others.
        """
        features = np.asarray(features, np.result_type(features, np.float32))
        if features.ndim != 2 or features.shape[1] != self.kernel.shape[0] or len(features) < 2:
            raise InputError(
                f"`features` must be [N, {self.kernel.shape[0]}], of two images or more. Received: {features.shape}."
            )
        mean, covariance = moments(features)
        if not np.isfinite(covariance).all():
            raise InputError("`features` must be finite numbers. Received: NaN or infinity among them.")
        variance = np.trace(covariance) / len(mean)
        if variance <= 0:
            self.reset()
            return
        eigenvalues, directions = np.linalg.eigh(covariance)
        shrinkage = SHRINKAGE * (1 + len(mean) / len(features)) ** 2
        scales = 1 / np.sqrt(eigenvalues.clip(0) + shrinkage * variance)
        self.mean.assign(mean)
        self.kernel.assign((directions * scales) @ directions.T)

    def reset(self) -> None:
        """Gives its inputs back from now on."""
        self.mean.assign(np.zeros(self.mean.shape))
        self.kernel.assign(np.eye(self.kernel.shape[0]))


def moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean `[F]` and covariance `[F, F]` of features `[N, F]`: multiplied in their own precision, summed in float64."""
    mean = features.mean(axis=0, dtype=np.float64)
    total = np.zeros([len(mean), len(mean)])
    for start in range(0, len(features), _ROWS):
        centred = features[start : start + _ROWS] - mean.astype(features.dtype)
        total += centred.T @ centred
    return mean, total / len(features)


def whitening_of(encoder: Callable[..., tf.Tensor] | None) -> Whitening | None:
    """The whitening that an encoder ends with; None where it has none."""
    return _end(encoder)[0]


def before_whitening(encoder: keras.Model) -> keras.Model:
    """The same layers up to the whitening, which is what a method trains; the encoder itself where it has none.

    Examples:
        >>> encoder = tfcontrastive.ResNet(18, width_multiplier=0.25, input_shape=(32, 32, 3), whiten_features=True)
        >>> before_whitening(encoder).output.name == encoder.get_layer("final_avg_pool").output.name
        True
    """
    whitening, features = _end(encoder)
    if whitening is None:
        return encoder
    held = vars(encoder)  # not by `setattr`, and in a function: else Keras would save its layers twice
    if "_before_whitening" not in held:
        before = keras.Model(encoder.inputs[0], features, name=encoder.name)
        held["_before_whitening"] = lambda: before
    found: keras.Model = held["_before_whitening"]()
    return found


def heads_of(model: Any) -> tuple[keras.layers.Layer | None, keras.layers.Layer | None]:
    """The projection head and the probe that read what a model's encoder gives; None where there is none.

    Of an encoder that whitens its features there is none: its heads were trained on those that enter the whitening.

    Args:
        model: a method, or any with an `encoder`, a `projection_head` or a `probe`.
    """
    whitening = whitening_of(getattr(model, "encoder", None))
    if whitening is not None and whitening.fitted:
        return None, None
    return getattr(model, "projection_head", None), getattr(model, "probe", None)


def _end(encoder: Any) -> tuple[Whitening | None, Any]:
    """The whitening that an encoder ends with, and what enters it."""
    outputs = list(getattr(encoder, "outputs", None) or [])
    history = getattr(outputs[0], "_keras_history", None) if len(outputs) == 1 else None
    if history is None or not isinstance(history.operation, Whitening):
        return None, None
    return history.operation, history.operation._inbound_nodes[history.node_index].input_tensors[0]
