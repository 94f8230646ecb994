"""The features of an image's places: what layers of an encoder give before its pooling."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.encoders.checks import encoder_shape
from tfcontrastive.encoders.same_layers import is_graph, run_layers
from tfcontrastive.encoders.whitening import before_whitening


@dataclasses.dataclass(frozen=True)
class LocalMaps:
    """An encoder that gives features and maps in one pass, each image's in one row: see `with_local_maps`.

    Attributes:
        network: images `[B, H, W, C]` -> rows `[B, F + sum of L D]`.
        num_features: F.
        names: of the layers.
        shapes: (L, D) of each layer's map: places and channels.
    """

    network: keras.Model
    num_features: int
    names: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]

    def split(self, rows: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Features `[B, F]`, and each layer's map `[B, L, D]`, of the network's rows."""
        sizes = [self.num_features, *(math.prod(shape) for shape in self.shapes)]
        features, *maps = tf.split(rows, sizes, axis=1)
        return features, [tf.reshape(one, [-1, *shape]) for one, shape in zip(maps, self.shapes, strict=True)]


def with_local_maps(encoder: keras.Model, names: Sequence[str], count: int, why: str) -> LocalMaps:
    """An encoder that gives the maps of some of its layers too, from the same pass.

    By rule, where no names are given: of each height and width above 1x1 the last layer's map; of these the smallest.

    Args:
        encoder: a functional model for images of one size, `[B, H, W, C]` -> features `[B, F]`.
        names: of layers with outputs `[B, h, w, D]` or `[B, L, D]`; none: by rule.
        count: how many the rule takes, at most; from the largest to the smallest.
        why: the method, for the error.

    Raises:
        InputError: no such layers.

    Examples:
        >>> encoder = tfcontrastive.ResNet(18, width_multiplier=0.0625, input_shape=(28, 28, 1))
        >>> with_local_maps(encoder, (), 2, "AMDIM").names
        ('block_group3', 'block_group4')
        >>> with_local_maps(encoder, (), 2, "AMDIM").shapes
        ((49, 16), (16, 32))
    """
    shape = encoder_shape(encoder)
    maps: dict[str, Any] = {}

    def see(operation: keras.Operation, output: Any) -> None:
        places = tuple(getattr(output, "shape", ()))[1:-1]
        if len(places) in (1, 2) and None not in (*places, output.shape[-1]):
            maps[operation.name] = output

    if not is_graph(encoder):
        raise InputError(
            f"{why} looks at maps inside of its encoder, which must be a keras.Model(inputs, outputs) of layers. "
            f"Received: {type(encoder).__name__}."
        )
    images = keras.Input(shape.image, dtype=encoder.inputs[0].dtype)
    features = run_layers(before_whitening(encoder), images, see)
    by_size = {tuple(one.shape[1:3]): name for name, one in maps.items() if len(one.shape) == 4}
    last = [by_size[size] for size in sorted(by_size, key=math.prod, reverse=True) if math.prod(size) > 1]
    chosen = tuple(names) or tuple(last[-count:])
    missing = [name for name in chosen if name not in maps]
    if missing or not chosen:
        received = f"local_layers={','.join(missing)}" if missing else f"{encoder.name} for images {shape.image}"
        known = f" Its last maps: {', '.join(last)}." if last else " Give it an input_shape of known height and width."
        raise InputError(
            f"{why} needs layers with maps [B, h, w, D] of a known size inside of its encoder. Received: {received}.{known}"
        )
    dtype = "float64" if shape.dtype == "float64" else "float32"
    rows = [keras.layers.Flatten(dtype=dtype)(maps[name]) for name in chosen]
    rows = keras.layers.Concatenate(dtype=dtype)([features, *rows])
    shapes = tuple((math.prod(maps[name].shape[1:-1]), maps[name].shape[-1]) for name in chosen)
    return LocalMaps(keras.Model(images, rows, name=encoder.name), shape.num_features, chosen, shapes)
