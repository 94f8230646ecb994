"""What a served model with an index answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tfcontrastive.export.serving_error import ServingError


class Nearest(NamedTuple):
    """The rows that are nearest to each image, from the nearest on.

    Attributes:
        ids: `[N, k]`, text.
        similarities: `[N, k]` float32, cosines.
        labels: `[N, k]`, text, "" for none.
    """

    ids: np.ndarray
    similarities: np.ndarray
    labels: np.ndarray


def found(answer: Mapping[str, np.ndarray], rows: int, k: int) -> Nearest:
    """The answer for so many images, if it is one.

    Raises:
        ServingError: INTERNAL, for another shape or type.
    """
    for name, values in answer.items():
        if values.shape != (rows, k):
            raise ServingError("INTERNAL", f"{name} must be [{rows}, {k}]. Received: shape {list(values.shape)}.")
    similarities = answer["similarities"]
    if similarities.dtype.kind != "f" or not np.isfinite(similarities).all():
        raise ServingError("INTERNAL", f"similarities must be finite numbers. Received: type {similarities.dtype}.")
    return Nearest(_text(answer, "ids"), similarities.astype(np.float32), _text(answer, "labels"))


def _text(answer: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    values = answer[name].ravel().tolist()
    try:
        texts = [value.decode() if isinstance(value, bytes) else value for value in values]
    except UnicodeDecodeError as error:
        raise ServingError("INTERNAL", f"{name} must be text. Received: other bytes ({error}).") from error
    if not all(isinstance(value, str) for value in texts):
        raise ServingError("INTERNAL", f"{name} must be text. Received: type {answer[name].dtype}.")
    return np.array(texts, object).reshape(answer[name].shape)
