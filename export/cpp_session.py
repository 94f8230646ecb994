"""A SavedModel run as TensorFlow Serving runs it: by the C++ session loader, in a process without Python's TensorFlow.

`CppSession` starts this file as a worker. The worker opens the TensorFlow wheel's C library with ctypes and never
imports `tensorflow`, so a signature that needs Python cannot work by accident. It imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import math
import os
import pickle
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

_DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 9: np.int64, 10: np.bool_}
_STRING = 7
_TSTRING_BYTES = 24
_CODES = {
    3: "INVALID_ARGUMENT",
    5: "NOT_FOUND",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    12: "UNIMPLEMENTED",
    13: "INTERNAL",
}


class CppError(RuntimeError):
    """What the C++ runtime answered: `code` by its canonical name, and the message."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


class CppSession:
    """Runs the signatures of a SavedModel in a worker process.

    Args:
        path: the SavedModel's directory.
        tags: the tags of the graph to load.

    Raises:
        CppError: if the model cannot be loaded.

    Examples:
        >>> with CppSession("exported/1") as session:
        ...     vectors = session.run("serving_default", images=np.zeros([1, 28, 28, 1], np.float32))["embedding"]
    """

    def __init__(self, path: str | os.PathLike, tags: tuple[str, ...] = ("serve",)):
        command = [sys.executable, os.path.abspath(__file__), os.fspath(path), *tags]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  what its libraries print, until `close`
        self._worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log)
        try:
            self.signatures = self._receive()
        except BaseException:
            self.close()
            raise

    def run(self, signature: str = "serving_default", **inputs: Any) -> dict[str, np.ndarray]:
        """The outputs of one signature by name. Arrays of objects or of bytes become string tensors; of string tensors
        come arrays of bytes.

        Raises:
            CppError: with the code and message of the runtime.
        """
        with contextlib.suppress(BrokenPipeError):  # a worker that has died: `_receive` says so
            pickle.dump((signature, inputs), self._worker.stdin)
            self._worker.stdin.flush()
        return self._receive()

    def close(self) -> None:
        """Ends the worker."""
        with contextlib.suppress(BrokenPipeError):
            self._worker.stdin.close()
        self._worker.stdout.close()
        self._worker.wait()
        self._log.close()

    def _receive(self) -> Any:
        try:
            error, answer = pickle.load(self._worker.stdout)
        except EOFError:
            code = self._worker.wait()
            self._log.seek(0)
            last = self._log.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise CppError("ABORTED", f"the worker ended with code {code}: {last}") from None
        if error:
            raise CppError(*error)
        return answer

    def __enter__(self) -> CppSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t), ("deallocator", ctypes.c_void_p)]


class _Library:
    """The C functions in use, from both libraries of the wheel."""

    def __init__(self):
        folder = importlib.util.find_spec("tensorflow").submodule_search_locations[0]
        suffix = "2.dylib" if sys.platform == "darwin" else "so.2"
        self._parts = [
            ctypes.CDLL(os.path.join(folder, f"lib{name}.{suffix}"), mode=ctypes.RTLD_GLOBAL)
            for name in ("tensorflow_framework", "tensorflow_cc")
        ]

    def __getattr__(self, name: str) -> Any:
        for part in self._parts:
            if hasattr(part, name):
                function = getattr(part, name)
                function.restype = ctypes.c_void_p
                setattr(self, name, function)
                return function
        raise AttributeError(name)


class _Session:
    """The worker's side: one loaded model."""

    def __init__(self, path: str, tags: list[str]):
        self._c = _Library()
        self._c.TF_StringGetDataPointer.restype = ctypes.POINTER(ctypes.c_char)
        self._c.TF_StringGetSize.restype = self._c.TF_TensorByteSize.restype = ctypes.c_size_t
        self._c.TF_Dim.restype = ctypes.c_int64
        self._status = self._pointer(self._c.TF_NewStatus())
        self._graph = self._pointer(self._c.TF_NewGraph())
        meta = self._c.TF_NewBuffer()
        tag_array = (ctypes.c_char_p * len(tags))(*[tag.encode() for tag in tags])
        self._session = self._pointer(
            self._c.TF_LoadSessionFromSavedModel(
                self._pointer(self._c.TF_NewSessionOptions()),
                None,
                path.encode(),
                tag_array,
                len(tags),
                self._graph,
                self._pointer(meta),
                self._status,
            )
        )
        self._check()
        buffer = ctypes.cast(meta, ctypes.POINTER(_Buffer)).contents
        self.signatures = _signatures(ctypes.string_at(buffer.data, buffer.length))

    def run(self, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        spec = self.signatures.get(signature)
        if spec is None:
            raise CppError("NOT_FOUND", f"no signature {signature!r}; there are {', '.join(sorted(self.signatures))}")
        if set(inputs) != set(spec["inputs"]):
            raise CppError("INVALID_ARGUMENT", f"the inputs are {sorted(spec['inputs'])}. Received: {sorted(inputs)}")
        feeds = [self._endpoint(spec["inputs"][name]) for name in inputs]
        fetches = [self._endpoint(name) for name in spec["outputs"].values()]
        tensors = (ctypes.c_void_p * len(feeds))(*[self._tensor(value) for value in inputs.values()])
        results = (ctypes.c_void_p * len(fetches))()
        self._c.TF_SessionRun(
            self._session,
            None,
            (_Output * len(feeds))(*feeds),
            tensors,
            len(feeds),
            (_Output * len(fetches))(*fetches),
            results,
            len(fetches),
            None,
            0,
            None,
            self._status,
        )
        for tensor in tensors:
            self._c.TF_DeleteTensor(self._pointer(tensor))
        self._check()
        return {name: self._array(tensor) for name, tensor in zip(spec["outputs"], results, strict=True)}

    def _endpoint(self, tensor_name: str) -> _Output:
        name, _, index = tensor_name.partition(":")
        return _Output(self._c.TF_GraphOperationByName(self._graph, name.encode()), int(index or 0))

    def _tensor(self, value: Any) -> int:
        array = np.asarray(value)
        strings = array.dtype.kind in "OSU"
        array = np.asarray(value, dtype=object) if strings else np.ascontiguousarray(array)
        code = _STRING if strings else next(code for code, dtype in _DTYPES.items() if dtype == array.dtype)
        length = array.size * (_TSTRING_BYTES if strings else array.itemsize)
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        tensor = self._pointer(self._c.TF_AllocateTensor(code, dims, array.ndim, ctypes.c_size_t(length)))
        data = self._c.TF_TensorData(tensor)
        if not strings:
            ctypes.memmove(data, array.ctypes.data, length)
            return tensor.value
        for position, item in enumerate(array.ravel()):
            slot = ctypes.c_void_p(data + position * _TSTRING_BYTES)
            self._c.TF_StringInit(slot)
            self._c.TF_StringCopy(slot, item, ctypes.c_size_t(len(item)))
        return tensor.value

    def _array(self, address: int) -> np.ndarray:
        tensor = self._pointer(address)
        shape = [self._c.TF_Dim(tensor, axis) for axis in range(self._c.TF_NumDims(tensor) or 0)]
        code, data = self._c.TF_TensorType(tensor), self._c.TF_TensorData(tensor)
        if code == _STRING:
            slots = [ctypes.c_void_p(data + position * _TSTRING_BYTES) for position in range(math.prod(shape))]
            strings = [self._string(slot) for slot in slots]
            self._c.TF_DeleteTensor(tensor)
            return np.array(strings, object).reshape(shape)
        content = ctypes.string_at(data, self._c.TF_TensorByteSize(tensor))
        self._c.TF_DeleteTensor(tensor)
        return np.frombuffer(content, _DTYPES[code]).reshape(shape)

    def _string(self, slot: ctypes.c_void_p) -> bytes:
        return ctypes.string_at(self._c.TF_StringGetDataPointer(slot), self._c.TF_StringGetSize(slot))

    def _check(self) -> None:
        code = self._c.TF_GetCode(self._status) or 0
        if code:
            message = ctypes.string_at(self._c.TF_Message(self._status)).decode(errors="replace")
            raise CppError(_CODES.get(code, f"CODE_{code}"), message)

    @staticmethod
    def _pointer(address: int | None) -> ctypes.c_void_p:
        return ctypes.c_void_p(address)


def _fields(message: bytes) -> list[tuple[int, Any]]:
    """The fields of a protocol buffer, undecoded: (number, int or bytes)."""
    found, position = [], 0

    def varint():
        nonlocal position
        value = shift = 0
        while True:
            byte = message[position]
            position += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while position < len(message):
        key = varint()
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            found.append((number, varint()))
        else:
            length = varint() if wire_type == 2 else {1: 8, 5: 4}[wire_type]
            found.append((number, message[position : position + length]))
            position += length
    return found


def _signatures(meta_graph: bytes) -> dict[str, dict[str, dict[str, str]]]:
    """{signature: {"inputs" | "outputs": {name: tensor name}}} of a serialized MetaGraphDef."""

    def entries(message, number):
        return {(pair := dict(_fields(value)))[1].decode(): pair[2] for key, value in _fields(message) if key == number}

    def tensors(signature, number):
        return {name: dict(_fields(info))[1].decode() for name, info in entries(signature, number).items()}

    return {
        name: {"inputs": tensors(signature, 1), "outputs": tensors(signature, 2)}
        for name, signature in entries(meta_graph, 5).items()
        if not name.startswith("__")
    }


def _serve(path: str, tags: list[str]) -> None:
    """Answers requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # Libraries may print: keep the channel clean.

    def answer(work, *arguments):
        try:
            result: tuple[Any, Any] = (None, work(*arguments))
        except CppError as error:
            result = ((error.code, error.message), None)
        if "tensorflow" in sys.modules:
            result = (("INTERNAL", "the worker imported Python's tensorflow"), None)
        pickle.dump(result, answers)
        answers.flush()

    session = None

    def load():
        nonlocal session
        session = _Session(path, tags)
        return session.signatures

    answer(load)
    while session is not None:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer(session.run, *request)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2:])
