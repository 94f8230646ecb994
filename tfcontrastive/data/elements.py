"""The forms in which images, views and labels come: arrays, tuples, dictionaries, as one element of a data set."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import tensorflow as tf

from tfcontrastive.config import InputError
from tfcontrastive.data import checks


@dataclasses.dataclass(frozen=True)
class Element:
    """One element of the data, by what its parts are.

    Attributes:
        images: whole ones, or None.
        views: that are made already, where there are no images.
        seeds: of the colours that are still to be changed, or None: the views are ready.
        label: or None.
        rest: of a dictionary.
    """

    images: Any = None
    views: tuple[Any, ...] = ()
    seeds: Any = None
    label: Any = None
    rest: dict[str, Any] = dataclasses.field(default_factory=dict)


def unpack(data: Any) -> Element:
    """What an element holds: images or views, alone or with labels, as a tuple or as a dictionary.

    Args:
        data: `images`, `(images, labels)`, `(view, view)`, `((view, view, ...), labels)`, `{"image": ..., "label": ...}` or
            `{"views": (...), ...}`.

    Raises:
        InputError: anything else.
    """
    parts = list(data) if isinstance(data, (tuple, list)) else [data]
    while parts and parts[-1] is None:
        parts.pop()
    if not parts:
        raise InputError("`x` must hold images. Received: None.")
    first, *rest = parts
    if isinstance(first, dict):
        element = _of_dictionary(first)
    elif isinstance(first, (tuple, list)):
        element = Element(views=tuple(first))
    else:
        views = list(itertools.takewhile(_is_image_batch, parts))
        element = Element(views=_alike(views)) if len(views) > 1 else Element(images=first)
        rest = parts[max(1, len(views)) :]
    if rest and element.label is None:
        element = dataclasses.replace(element, label=rest.pop(0))
    if rest:
        raise InputError(
            "the data must be images or views, and labels at most. Received: "
            f"{len(rest)} more, such as `sample_weight`, which no method takes."
        )
    return element


def _of_dictionary(parts: dict[str, Any]) -> Element:
    rest = {name: value for name, value in parts.items() if name not in ("image", "views", "seeds", "label")}
    if "views" in parts and isinstance(parts["views"], (tuple, list)):
        return Element(None, tuple(parts["views"]), parts.get("seeds"), parts.get("label"), rest)
    if "image" not in parts or "views" in parts:
        raise InputError(
            "a dictionary must hold `image`, or `views`, a tuple with a tensor for each view; and may hold `label`. "
            f"Received: {', '.join(sorted(map(str, parts)))}."
        )
    return Element(parts["image"], label=parts.get("label"), rest=rest)


def _is_image_batch(part: Any) -> bool:
    return part is not None and len(_shape_of(part)) > 2


def _alike(views: list[Any]) -> tuple[Any, ...]:
    """Views that come in place of labels, which have the shape of the first."""
    like, *others = map(_shape_of, views)
    for shape in others:
        if not tf.TensorShape(shape).is_compatible_with(like):
            raise InputError(
                f"`y` must be labels [B], or views of the images' shape, {like}. Received: shape={shape}. "
                "Give views of several sizes as `((v1, v2), labels)`."
            )
    return tuple(views)


def _shape_of(part: Any) -> tuple[int | None, ...]:
    shape = part.shape if hasattr(part, "shape") else np.shape(part)
    rank = getattr(shape, "rank", len(shape) if isinstance(shape, tuple) else None)
    return () if rank is None else tuple(shape)


def shapes(data: Any) -> Any:
    """The shapes of an element, but for the number of rows, by which a step is traced; () of what does not tell."""
    parts = [part.element_spec if isinstance(part, tf.data.Dataset) else part for part in tf.nest.flatten(data)]
    return tuple(_shape_of(part)[1:] for part in tf.nest.flatten(parts) if hasattr(part, "shape"))


def check_arrays(data: Any, channels: int | None, num_classes: int | None) -> None:
    """Arrays that a model is given must fit as a whole, before the first step; other data passes here.

    Args:
        data: `(images, labels)`, as `unpack` takes them.
        channels: of the images.
        num_classes: of the labels; None: any number.

    Raises:
        InputError: they do not fit.
    """
    if not all(
        isinstance(part, np.ndarray) or tf.is_tensor(part) for part in tf.nest.flatten(data) if part is not None
    ):
        return
    element = unpack(data)
    images = element.images if element.images is not None else element.views[0]
    if element.images is not None and isinstance(images, np.ndarray):
        checks.check_images(images, "`x`", channels)
    if isinstance(element.label, np.ndarray):
        checks.class_numbers(element.label, len(images), num_classes or checks.MOST, "`y`", least=-checks.MOST)
