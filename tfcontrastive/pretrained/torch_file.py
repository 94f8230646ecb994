"""Files of `torch.save`, read and written without torch, and without running any code that they hold.

Such a file is a pickle whose tensors point to blocks of bytes beside it. A pickle may call any function that can be
imported; this reader looks nothing up but the handful of names that tensors are made of, and gives those a meaning of its
own. Both forms are read: the zip archive (torch 1.6 and later) and the plain sequence of pickles before it, in which MoCo
v1, v2 and most of torchvision were published.
"""

from __future__ import annotations

import collections
import dataclasses
import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.variables import Variables

_MAGIC = 0x1950A86A20F9469CFC6C
_ITEMS = {
    "Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64",
    "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool",
}  # fmt: skip
# Settings and numbers that lie beside the weights. Objects of these packages are read as empty shells: no class of theirs
# is imported, no function called.
_SHELLS = ("argparse", "omegaconf", "pytorch_lightning", "lightning", "lightning_fabric", "numpy", "_codecs", "typing")
# Where a training script keeps the network among what it saves.
_STATE = ("state_dict", "model_state_dict", "model")


@dataclasses.dataclass(frozen=True)
class _Storage:
    """A block of numbers in the file."""

    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    """Where a tensor lies in its block."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, block: bytes) -> np.ndarray:
        """The tensor's values, a copy."""
        numbers = np.frombuffer(block, self.storage.dtype, self.storage.count)
        reach = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if min((*self.strides, self.offset, *self.shape), default=0) < 0 or (
            np.prod(self.shape) and reach >= self.storage.count
        ):
            raise InputError("a tensor reaches beyond its block of the file")
        steps = [step * self.storage.dtype.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps).copy()


class _Shell:
    """Stands for an object that is not needed."""

    def __new__(cls, *_: Any, **__: Any):
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, _: Any) -> None:
        pass

    def __setitem__(self, _: Any, __: Any) -> None:
        pass

    def append(self, _: Any) -> None:
        pass


class _Module(dict):
    """Stands for a module of a TorchScript archive, whose code is left alone: its tensors and modules by their names."""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, dict):
            raise InputError("a module of TorchScript has no names for its tensors")
        self.update(state)


def _tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _Tensor:
    """Stands for `torch._utils._rebuild_tensor_v2`."""
    if not isinstance(storage, _Storage):
        raise InputError("a tensor has no block of numbers")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, strides)))


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    """Stands for `torch._utils._rebuild_parameter`."""
    return tensor


def _as_it_is(value: Any, *_: Any) -> Any:
    """Stands for what TorchScript says of the type of a value."""
    return value


_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag")

_KNOWN: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
    ("torch", "device"): _Shell,
    **{("torch", f"{name}Storage"): item for name, item in _ITEMS.items()},
    **{("torch", item): item for item in _ITEMS.values()},
    **{("torch.jit._pickle", name): _as_it_is for name in _LISTS},
}


class _Unpickler(pickle.Unpickler):
    """Reads tensors, numbers, strings and containers, and refuses everything else."""

    def __init__(self, file: BinaryIO):
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _KNOWN:
            return _KNOWN[module, name]
        if module.partition(".")[0] == "__torch__":
            return type("Module", (_Module,), {})
        if module.partition(".")[0] in _SHELLS:
            return type("Shell", (_Shell,), {})
        raise InputError(
            f"it asks for {module}.{name}, which is no part of a tensor: not loaded, it could run any code"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        kind, item, key, _, count, *view = pid
        if kind != "storage" or item not in _ITEMS.values() or any(part is not None for part in view):
            raise InputError(f"it refers to a {kind} of a kind that is not known")
        return self.storages.setdefault(str(key), _Storage(str(key), _dtype(item), int(count)))


def read_torch_zip(path: str) -> Variables:
    """The variables of a zip archive of `torch.save`."""
    with zipfile.ZipFile(path) as archive:
        roots = [name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("data.pkl")]
        if len(roots) != 1:
            raise InputError("the zip archive is not one of torch.save: it has no data.pkl")
        root = roots[0]
        if f"{root}byteorder" in archive.namelist() and _stored(archive, f"{root}byteorder") != b"little":
            raise InputError("it was written on a big-endian machine")
        tensors = _flat(_Unpickler(io.BytesIO(_stored(archive, f"{root}data.pkl"))).load())

    def block(storage: _Storage) -> bytes:
        with zipfile.ZipFile(path) as archive:
            return _stored(archive, f"{root}data/{storage.key}")

    return _variables(path, tensors, block)


def _stored(archive: zipfile.ZipFile, name: str) -> bytes:
    entry = archive.getinfo(name)
    if entry.compress_type != zipfile.ZIP_STORED:  # a few bytes could become many
        raise InputError("it is a compressed archive, which torch.save does not write")
    return archive.read(entry)


def read_torch_legacy(path: str) -> Variables:
    """The variables of a file of `torch.save` before torch 1.6."""
    with open(path, "rb") as file:
        magic, _, system = (_Unpickler(file).load() for _ in range(3))
        if magic != _MAGIC or not isinstance(system, dict) or not system.get("little_endian"):
            raise InputError("it is a pickle, but not one of torch.save")
        unpickler = _Unpickler(file)
        tensors = _flat(unpickler.load())
        places = {}
        for key in _Unpickler(file).load():
            (count,) = struct.unpack("<q", file.read(8))
            size = count * unpickler.storages[key].dtype.itemsize
            places[key] = file.tell(), size
            file.seek(size, os.SEEK_CUR)

    def block(storage: _Storage) -> bytes:
        start, size = places[storage.key]
        with open(path, "rb") as file:
            file.seek(start)
            return _exactly(file, size)

    return _variables(path, tensors, block)


def write_torch(path: str, values: dict[str, np.ndarray]) -> None:
    """Writes float32 arrays as a state dict that `torch.load(path, weights_only=True)` reads."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        root = "archive"
        archive.writestr(f"{root}/data.pkl", _pickled(values))
        archive.writestr(f"{root}/byteorder", "little")
        for key, value in enumerate(values.values()):
            archive.writestr(f"{root}/data/{key}", np.ascontiguousarray(value, "<f4").tobytes())
        archive.writestr(f"{root}/version", "3\n")


def _pickled(values: dict[str, np.ndarray]) -> bytes:
    """An OrderedDict of `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())` in pickle's own opcodes.

    `pickle` itself writes a function by its name only where it can import it, and torch need not be there.
    """
    empty = b"ccollections\nOrderedDict\n)R"

    def text(string: str) -> bytes:
        encoded = string.encode()
        return pickle.BINUNICODE + struct.pack("<I", len(encoded)) + encoded

    def number(value: int) -> bytes:
        return pickle.LONG1 + b"\x08" + struct.pack("<q", value)

    def tensor(key: int, value: np.ndarray) -> bytes:
        strides = np.cumprod([1, *value.shape[:0:-1]])[: value.ndim][::-1]
        storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(str(key)) + text("cpu") + number(value.size)
        sizes = (b"(" + b"".join(number(int(n)) for n in numbers) + b"t" for numbers in (value.shape, strides))
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"tQ" + number(0) + b"".join(sizes) + (
            pickle.NEWFALSE + empty + b"tR"
        )  # fmt: skip

    items = b"".join(text(name) + tensor(key, value) for key, (name, value) in enumerate(values.items()))
    return b"\x80\x02" + empty + b"(" + items + b"u."


def _variables(path: str, tensors: dict[str, _Tensor], block: Callable[[_Storage], bytes]) -> Variables:
    def read(name: str) -> np.ndarray:
        return tensors[name].of(block(tensors[name].storage))

    return Variables("torch", path, {name: tensor.shape for name, tensor in tensors.items()}, read)


def _flat(saved: Any) -> dict[str, _Tensor]:
    """The tensors of the network by their names in its state dict, and all others by their path, as `/optimizer/state/0`."""
    if isinstance(saved, _Module):
        return {".".join(path): tensor for path, tensor in _walk(saved, ())}
    state = next((key for key in _STATE if isinstance(saved, dict) and isinstance(saved.get(key), dict)), None)
    found = {}
    for path, tensor in _walk(saved, ()):
        beside = state is not None and path[0] != state
        found["/".join(("", *path) if beside else path[1:] if state else path)] = tensor
    return found


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], _Tensor]]:
    if isinstance(value, _Tensor):
        yield path, value
    elif isinstance(value, (dict, list, tuple)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _walk(item, (*path, str(key)))


def _dtype(item: str) -> np.dtype:
    return np.dtype(ml_dtypes.bfloat16) if item == "bfloat16" else np.dtype(item).newbyteorder("<")


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError("the file ends in the middle of a tensor")
    return data
