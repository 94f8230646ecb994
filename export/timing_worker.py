"""The worker of `benchmark_export`: one model in one runtime, timed where it runs. It is a program, not a module to import.

What it is told and what it tells are lines of JSON: it says what it made of one batch when it is ready, and then answers
each number of calls with the seconds that they took. Its environment holds what a runtime reads once, at its start.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def call_of(kind: str, path: str, images: np.ndarray) -> Callable[[], Any]:
    """A function that gives the embeddings of a batch."""
    threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS", "0"))
    if kind == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(["embedding"], {"images": images})[0]
    if kind == "tflite":
        from ai_edge_litert.interpreter import Interpreter  # XNNPACK is what it runs floats with

        runner = Interpreter(path, num_threads=threads or None).get_signature_runner()
        return lambda: runner(images=images)["embedding"]
    import tensorflow as tf

    model = tf.saved_model.load(path)
    signature = model.signatures["serving_default"]

    def embed(kept=model):  # the signature alone does not keep its variables
        return signature(images=tf.constant(images))["embedding"].numpy()

    return embed


def main(kind: str, path: str, shape: str) -> None:
    """Times calls until its input ends."""
    told = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)  # libraries may print: keep the channel clean
    images = np.random.RandomState(0).rand(*map(int, shape.split(","))).astype(np.float32)
    try:
        call = call_of(kind, path, images)
        call()
        print(json.dumps({"vector": np.asarray(call())[0].astype(float).tolist()}), file=told)
    except Exception as error:  # whatever a runtime raises is what is told of it
        lines = str(error).strip().splitlines() or [""]
        print(json.dumps({"error": f"{type(error).__name__}: {lines[0][:200]}"}), file=told)
        return
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            call()
        print(json.dumps({"seconds": time.perf_counter() - start}), file=told)


if __name__ == "__main__":
    main(*sys.argv[1:])
