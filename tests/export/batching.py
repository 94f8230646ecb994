"""TensorFlow Serving's rule of batching, simulated: what `batching.config` sets, in front of any session."""

import queue
import threading
import time
from concurrent import futures

import numpy as np

from tests.export.serving_stub import ServingStub

_END = object()


class BatchingSession:
    """Joins requests of one signature that arrive together, as `BasicBatchScheduler` does.

    A batch is closed when the next request would make it larger than `max_batch_size`, or `timeout_micros` after its first
    came; it is filled up to the next of `allowed` by its first row, run, and cut into the answers. One thread runs batches.
    """

    def __init__(self, session, *, max_batch_size=64, timeout_micros=5000, allowed=(1, 8, 32, 64)):
        self._session, self._most, self._allowed = session, max_batch_size, allowed
        self._timeout = timeout_micros / 1e6
        self.sizes: list[int] = []  # images of each batch, before it was filled up
        self._waiting: queue.Queue = queue.Queue()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def run(self, signature="serving_default", **inputs):
        answer: futures.Future = futures.Future()
        self._waiting.put((signature, inputs, answer))
        return answer.result()

    def close(self):
        self._waiting.put(_END)
        self._thread.join()

    def _serve(self):
        coming = self._waiting.get()
        while coming is not _END:
            batch, coming = self._collect(self._waiting.get() if coming is None else coming)
            if not batch:
                return
            try:
                outputs = self._joined(batch)
            except Exception as error:  # each of them fails, as on the server
                for _, _, answer in batch:
                    answer.set_exception(error)
                continue
            start = 0
            for _, inputs, answer in batch:
                end = start + _rows(inputs)
                answer.set_result({name: value[start:end] for name, value in outputs.items()})
                start = end

    def _collect(self, first):
        """A batch, and the request that is too many for it, None where the time was up."""
        if first is _END:
            return [], _END
        batch, closes = [first], time.monotonic() + self._timeout
        while True:
            try:
                coming = self._waiting.get(timeout=max(0.0, closes - time.monotonic()))
            except queue.Empty:
                return batch, None
            if coming is _END or coming[0] != first[0]:
                return batch, coming
            if sum(_rows(inputs) for _, inputs, _ in [*batch, coming]) > self._most:
                return batch, coming
            batch.append(coming)

    def _joined(self, batch):
        rows = sum(_rows(inputs) for _, inputs, _ in batch)
        self.sizes.append(rows)
        padded = next((size for size in self._allowed if size >= rows), rows)
        joined = {}
        for name in batch[0][1]:
            values = np.concatenate([inputs[name] for _, inputs, _ in batch])
            joined[name] = np.concatenate([values, np.repeat(values[:1], padded - rows, axis=0)])
        return self._session.run(batch[0][0], **joined)


class BatchingStub(ServingStub):
    """The stand-in for TensorFlow Serving, with its batching."""

    def __init__(self, path, session, workers=32, **rule):
        self.batching = BatchingSession(session, **rule)
        super().__init__(path, session, workers)

    def run(self, signature, inputs):
        return self.batching.run(signature or "serving_default", **inputs)

    def close(self):
        super().close()
        self.batching.close()


def _rows(inputs):
    return len(next(iter(inputs.values())))
