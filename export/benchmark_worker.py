"""One artefact with one setting, timed in a process of its own: what TensorFlow reads at its import cannot be changed later.

`benchmark_export` starts this file. It imports nothing of this package, whose import would choose a setting itself.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def main(kind: str, path: str, shape: list[int], xla: bool, threads: int) -> None:
    """Prints the vectors of a made batch, then for each line `n` of the input the seconds of n calls.

    Args:
        kind: saved_model, onnx or tflite.
        path: the directory or file.
        shape: `[B, H, W, C]` of the batch.
        xla: whether XLA compiles a SavedModel's signature.
        threads: of one operation; 0 leaves it to the library.
    """
    images = np.random.RandomState(0).rand(*shape).astype(np.float32)
    call = _CALLS[kind](path, images, xla, threads)
    call()  # compiles
    print(json.dumps(call().astype(float).tolist()), flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            call()
        print(json.dumps(time.perf_counter() - start), flush=True)


def _saved_model(path: str, images: np.ndarray, xla: bool, threads: int) -> Callable[[], np.ndarray]:
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    model = tf.saved_model.load(path)
    signature = model.signatures["serving_default"]
    run = tf.function(lambda images: signature(images=images)["embedding"], jit_compile=xla)

    def call(held: Any = model):  # whose variables live as long as this reference
        return run(tf.constant(images)).numpy()

    return call


def _onnx(path: str, images: np.ndarray, xla: bool, threads: int) -> Callable[[], np.ndarray]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name, outputs = session.get_inputs()[0].name, [output.name for output in session.get_outputs()]
    wanted = [next((output for output in outputs if output == "embedding"), outputs[0])]
    return lambda: session.run(wanted, {name: images})[0]


def _tflite(path: str, images: np.ndarray, xla: bool, threads: int) -> Callable[[], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads or None)  # XNNPACK is its default for float32
    given: dict[str, Any] = interpreter.get_input_details()[0]
    interpreter.resize_tensor_input(given["index"], images.shape)
    interpreter.allocate_tensors()
    found = interpreter.get_signature_runner()

    def call():
        return found(images=images)["embedding"]

    return call


_CALLS = {"saved_model": _saved_model, "onnx": _onnx, "tflite": _tflite}

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4] == "True", int(sys.argv[5]))
