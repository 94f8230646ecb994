"""What the networks of this package share: each is made from a few settings, and made again from them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from tfcontrastive.config import InputError


class FunctionalEncoder(keras.Model):
    """A network of layers `[B, H, W, C]` -> `[B, F]` whose Keras config are the arguments that it was made with.

    Args:
        settings: the arguments, see `checked_settings`, in the order in which they are stored.
        lay: lays the layers: images -> features, and the names of the layers with weights, in their order.
    """

    layer_order: tuple[str, ...]

    def __init__(self, settings: dict[str, Any], lay: Callable[[Any], tuple[Any, list[str]]]):
        double = "float64" if settings["dtype"] == "float64" else None  # else Keras rounds the images
        images = keras.Input(settings["input_shape"], name="images", dtype=double)
        features, order = lay(images)
        super().__init__(inputs=images, outputs=features, name=settings["name"])
        self._config = settings
        self.layer_order = tuple(order)

    def get_config(self):
        return dict(self._config)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**config)


def checked_settings(**settings: Any) -> dict[str, Any]:
    """Settings with their shape as a tuple, and the name of the dtype policy that holds now.

    Args:
        **settings: `input_shape` and `dtype` among them.

    Raises:
        InputError: a shape that is not (height, width, channels).
    """
    shape = tuple(settings["input_shape"])
    if len(shape) != 3 or shape[2] is None:
        raise InputError(f"`input_shape` must be (height, width, channels), channels given. Received: {shape}.")
    policy = keras.dtype_policies.get(settings["dtype"] or keras.config.dtype_policy())
    return {**settings, "input_shape": shape, "dtype": policy.name}


def feature_dtype(settings: dict[str, Any]) -> str:
    """The dtype of means and features, for which half precision is too coarse."""
    return "float64" if settings["dtype"] == "float64" else "float32"
