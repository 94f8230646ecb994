"""TensorFlow Serving as far as a load test needs it: its C++ loader, its gRPC interface, its rule of batching.

The loader is TensorFlow's own, behind `CppSession`; the interface is that of tensorflow-serving-api; the rule, here, is
what TensorFlow Serving's documentation says of max_batch_size, batch_timeout_micros, max_enqueued_batches and
allowed_batch_sizes. The server itself is in no package registry.
"""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Sequence
from concurrent import futures

import numpy as np


@dataclasses.dataclass(frozen=True)
class BatchingRule:
    """The settings of `export/serving/batching.config`, by its names."""

    max_batch_size: int = 64
    batch_timeout_micros: int = 5000
    max_enqueued_batches: int = 100
    num_batch_threads: int = 1
    allowed_batch_sizes: Sequence[int] = (1, 8, 32, 64)


class _Task:
    """One request, until it is answered."""

    def __init__(self, inputs: dict[str, np.ndarray]):
        self.inputs, self.rows = inputs, len(next(iter(inputs.values())))
        self.answered = threading.Event()
        self.outputs: dict[str, np.ndarray] | None = None
        self.error: Exception | None = None


class _Batch:
    def __init__(self, signature: str):
        self.signature, self.tasks, self.rows = signature, [], 0
        self.opened = time.monotonic()


class Batcher:
    """Joins requests that arrive together into one run, and gives each its own rows of the answer.

    A request joins the last batch of its signature, or opens one where it would grow beyond `max_batch_size`. A batch is run
    when it is full, when another has been opened behind it, or `batch_timeout_micros` after its first request. It is
    filled up with its first row to the next of `allowed_batch_sizes`; a request that would open one batch more than
    `max_enqueued_batches` is refused, as UNAVAILABLE.

    Args:
        run: `run(signature, **inputs)` gives the outputs by name.
        rule: when a batch is run.
        refusal: the exception of a request that finds no place, from a code and a message.
    """

    def __init__(self, run: Callable, rule: BatchingRule, refusal: Callable[[str, str], Exception]):
        self._run, self._rule, self._refusal = run, rule, refusal
        self.sizes: list[int] = []  # rows of each run, those of requests
        self._queues: dict[str, collections.deque[_Batch]] = collections.defaultdict(collections.deque)
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(rule.num_batch_threads)]
        for thread in self._threads:
            thread.start()

    def __call__(self, signature: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs of one request, once its batch has been run."""
        task = _Task(inputs)
        with self._changed:
            self._enqueue(signature, task)
            self._changed.notify_all()
        task.answered.wait()
        if task.error is not None:
            raise task.error
        return task.outputs

    @property
    def waiting(self) -> int:
        """Requests that are in no run yet."""
        with self._changed:
            return sum(len(batch.tasks) for queue in self._queues.values() for batch in queue)

    def close(self) -> None:
        """Runs what is waiting, and ends."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _enqueue(self, signature: str, task: _Task) -> None:
        rule, queue = self._rule, self._queues[signature]
        if task.rows > rule.max_batch_size:
            raise self._refusal(
                "INVALID_ARGUMENT", f"a request of {task.rows} rows is larger than {rule.max_batch_size}"
            )
        if not queue or queue[-1].rows + task.rows > rule.max_batch_size:
            if len(queue) >= rule.max_enqueued_batches:
                raise self._refusal("UNAVAILABLE", "the queue of batches is full")
            queue.append(_Batch(signature))
        queue[-1].tasks.append(task)
        queue[-1].rows += task.rows

    def _work(self) -> None:
        while True:
            with self._changed:
                while (batch := self._next()) is None:
                    if self._closed and not any(self._queues.values()):
                        return
                    self._changed.wait(self._rule.batch_timeout_micros / 1e6 if any(self._queues.values()) else None)
                self.sizes.append(batch.rows)
            self._answer(batch)

    def _next(self) -> _Batch | None:
        """The batch that has waited longest of those that are to be run now."""
        oldest = time.monotonic() - self._rule.batch_timeout_micros / 1e6
        ready = [
            queue
            for queue in self._queues.values()
            if queue
            and (
                self._closed
                or len(queue) > 1
                or queue[0].rows >= self._rule.max_batch_size
                or queue[0].opened <= oldest
            )
        ]
        return min(ready, key=lambda queue: queue[0].opened).popleft() if ready else None

    def _answer(self, batch: _Batch) -> None:
        try:
            outputs = self._run(batch.signature, **self._joined(batch))
            start = 0
            for task in batch.tasks:
                task.outputs = {name: value[start : start + task.rows] for name, value in outputs.items()}
                start += task.rows
        except Exception as error:  # all that were joined share it, as in the server
            for task in batch.tasks:
                task.error = error
        for task in batch.tasks:
            task.answered.set()

    def _joined(self, batch: _Batch) -> dict[str, np.ndarray]:
        size = next((size for size in self._rule.allowed_batch_sizes if size >= batch.rows), batch.rows)
        joined = {}
        for name in batch.tasks[0].inputs:
            values = np.concatenate([task.inputs[name] for task in batch.tasks])
            joined[name] = np.concatenate([values, np.repeat(values[:1], size - len(values), axis=0)])
        return joined


class BatchingServer:
    """`Predict` of TensorFlow Serving on the loopback: one model, called `encoder`.

    Args:
        session: a `CppSession`, which is asked by one thread at a time.
        rule: None for each request by itself.
    """

    def __init__(self, session, rule: BatchingRule | None):
        import grpc
        import tensorflow as tf
        from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

        from tfcontrastive.export import CppError

        one_at_a_time = threading.Lock()

        def run(signature, **inputs):
            with one_at_a_time:
                return session.run(signature, **inputs)

        self.batcher = None if rule is None else Batcher(run, rule, CppError)
        answer = self.batcher or (lambda signature, inputs: run(signature, **inputs))

        class Service(prediction_service_pb2_grpc.PredictionServiceServicer):
            def Predict(self, request, context):
                inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
                try:
                    outputs = answer(request.model_spec.signature_name or "serving_default", inputs)
                except CppError as error:
                    context.abort(grpc.StatusCode[error.code], error.message)
                response = predict_pb2.PredictResponse()
                for name in request.output_filter or outputs:
                    response.outputs[name].CopyFrom(tf.make_tensor_proto(outputs[name]))
                return response

        self._server = grpc.server(futures.ThreadPoolExecutor(64))
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Service(), self._server)
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        """Answers what is waiting, and ends."""
        self._server.stop(5).wait()
        if self.batcher is not None:
            self.batcher.close()
