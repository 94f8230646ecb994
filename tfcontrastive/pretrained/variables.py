"""What a file of weights holds: the names and shapes of its variables, and their values, read one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Variables:
    """The variables of one file or directory.

    Attributes:
        kind: of the file: "TensorFlow checkpoint", "SavedModel", "torch", "safetensors", "HDF5" or "keras_hub".
        path: where it lies.
        shapes: `{name: shape}` of everything it holds, in the file's order.
        read: name -> value. Only what is asked for is read, so that queues and optimizer slots cost nothing.
    """

    kind: str
    path: str
    shapes: dict[str, tuple[int, ...]]
    read: Callable[[str], np.ndarray]

    @property
    def is_torch(self) -> bool:
        """Whether kernels are laid out as torch does: OIHW and OI, where TensorFlow has HWIO and IO."""
        return self.kind in ("torch", "safetensors", "keras_hub")

    def starting_with(self, prefix: str) -> dict[str, tuple[int, ...]]:
        """The shapes of what lies under a prefix, by the rest of the names."""
        return {name.removeprefix(prefix): shape for name, shape in self.shapes.items() if name.startswith(prefix)}


def to_tensorflow(value: np.ndarray) -> np.ndarray:
    """A torch kernel in TensorFlow's layout: OIHW -> HWIO, OI -> IO; vectors stay."""
    return value.transpose(_TO_TENSORFLOW.get(value.ndim, range(value.ndim)))


def to_tensorflow_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that `to_tensorflow` gives."""
    return tuple(shape[axis] for axis in _TO_TENSORFLOW.get(len(shape), range(len(shape))))


def to_torch(value: np.ndarray) -> np.ndarray:
    """The inverse of `to_tensorflow`."""
    return value.transpose(np.argsort(_TO_TENSORFLOW.get(value.ndim, range(value.ndim))))


_TO_TENSORFLOW = {4: (2, 3, 1, 0), 2: (1, 0)}
