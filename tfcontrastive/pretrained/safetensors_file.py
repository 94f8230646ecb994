"""safetensors: a header in JSON, then the numbers. There is nothing in it that could run."""

from __future__ import annotations

import itertools
import json
import os
import struct
from typing import Any

import ml_dtypes
import numpy as np

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.pretrained.variables import Variables

_DTYPES = {
    "F64": np.dtype("<f8"), "F32": np.dtype("<f4"), "F16": np.dtype("<f2"), "BF16": np.dtype(ml_dtypes.bfloat16),
    "I64": np.dtype("<i8"), "I32": np.dtype("<i4"), "I16": np.dtype("<i2"), "I8": np.dtype("i1"),
    "U8": np.dtype("u1"), "BOOL": np.dtype("?"),
}  # fmt: skip
_MOST_HEADER = 100_000_000  # the format's own limit


def read_safetensors(path: str) -> Variables:
    """The variables of a safetensors file."""
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        if length > min(_MOST_HEADER, os.path.getsize(path)):
            raise InputError("its header is longer than the file")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}

    def read(name: str) -> np.ndarray:
        begin, end = header[name]["data_offsets"]
        dtype = _DTYPES[header[name]["dtype"]]
        with open(path, "rb") as file:
            file.seek(8 + length + begin)
            return np.frombuffer(file.read(end - begin), dtype).reshape(shapes[name])

    return Variables("safetensors", path, shapes, read)


def write_safetensors(path: str, values: dict[str, np.ndarray]) -> None:
    """Writes float32 arrays as a safetensors file."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, value in values.items():
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": [offset, offset + 4 * value.size]}
        offset += 4 * value.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    arrays = (np.ascontiguousarray(value, "<f4").tobytes() for value in values.values())
    storage.write(path, itertools.chain([struct.pack("<Q", len(text)), text], arrays))
