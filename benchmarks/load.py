"""A load test of `EmbeddingClient`: TensorFlow's C++ loader behind real gRPC on the loopback, many clients at once.

    python benchmarks/load.py [--clients 1 2 4 8 16 32] [--rows 1] [--seconds 8] [--depth 18 --width 0.25 --image_size 32]

Each client is a thread with a connection of its own that sends its next request when it has the answer to the last. Every
row of every answer is compared with the vector of its image, asked for alone: a row that is missing, or another image's,
ends the test. A table's line is bounded by seconds and by requests. TensorFlow Serving's rule of batching is
`batching_server.py`; clients, server and model share the machine's cores.
"""

import argparse
import contextlib
import dataclasses
import statistics
import tempfile
import threading
import time

import numpy as np


@dataclasses.dataclass
class Load:
    """What the clients of one line saw."""

    seconds: float
    latencies: list[float]  # seconds, one a request
    images: int  # that were answered
    wrong: int  # rows that are not their image's vector


def drive(address, images, expected, *, clients, rows=1, requests=10_000, seconds=60.0):
    """Asks a server from many threads at once, until each has sent `requests` or the time is over.

    Args:
        address: host:port of the gRPC interface.
        images: float32 `[N, H, W, C]`; each request takes the next `rows` of them, each client from another place on.
        expected: their vectors `[N, D]`.
    """
    from tfcontrastive.export import EmbeddingClient

    load, lock, errors = Load(0.0, [], 0, 0), threading.Lock(), []
    together = threading.Barrier(clients + 1)
    tolerance = 1e-4 * np.abs(expected).max()
    ends = [float("inf")]

    def ask(client_number):
        try:
            with EmbeddingClient(address, batch_size=rows, timeout=60) as client:
                client.embed(images[:1])  # connected
                together.wait(60)
                for number in range(requests):
                    if time.perf_counter() > ends[0]:
                        return
                    first = (client_number * 7919 + number * rows) % (len(images) - rows + 1)
                    start = time.perf_counter()
                    vectors = client.embed(images[first : first + rows])
                    taken = time.perf_counter() - start
                    far = np.abs(vectors - expected[first : first + rows]).max(axis=1) > tolerance
                    with lock:
                        load.latencies.append(taken)
                        load.images += len(vectors)
                        load.wrong += int(far.sum())
        except Exception as error:
            errors.append(error)
            together.abort()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):  # the error of whoever broke it is raised below
        together.wait(60)
    start = time.perf_counter()
    ends[0] = start + seconds
    for thread in threads:
        thread.join()
    load.seconds = time.perf_counter() - start
    if errors:
        raise errors[0]
    return load


def export_network(args, folder):
    """The path of an export, and images of its size."""
    import tensorflow as tf

    from tfcontrastive import export
    from tfcontrastive.encoders import ResNet

    shape = (args.image_size, args.image_size, 3)
    encoder = ResNet(args.depth, args.width, input_shape=shape)
    random = np.random.default_rng(0)
    for _ in range(2):  # statistics
        encoder(tf.constant(random.random((8, *shape), np.float32)), training=True)
    # Flat colours of their own: vectors that no rounding makes alike.
    images = np.float32(random.random((64, 1, 1, 3)) * 0.6 + 0.4 * random.random((64, *shape)))
    return export.save_model(encoder, folder), images


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--timeouts", type=int, nargs="+", default=[-1, 0, 1000, 5000])
    parser.add_argument("--max_batch_size", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1, help="images of a request")
    parser.add_argument("--seconds", type=float, default=8.0, help="of a line, at most")
    parser.add_argument("--requests", type=int, default=2000, help="of a client in a line, at most")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--image_size", type=int, default=32)
    args = parser.parse_args()

    from batching_server import BatchingRule, BatchingServer
    from machine import machine

    from tfcontrastive.commands.main import import_tensorflow
    from tfcontrastive.system import onednn

    onednn.leave_to_tensorflow()  # as where a model serves
    import_tensorflow()  # without its messages
    from tfcontrastive.export import CppSession

    print(f"{machine()}; ResNet-{args.depth} x{args.width:g}, {args.image_size} pixels, requests of {args.rows}")
    print("batch_timeout_micros | clients | images/s | p50 ms | p99 ms | rows a run | requests | lost or wrong")
    with tempfile.TemporaryDirectory() as folder:
        path, images = export_network(args, folder)
        with CppSession(path) as session:
            expected = np.concatenate([session.run(images=image[None])["embedding"] for image in images])
            for timeout in args.timeouts:
                allowed = tuple(size for size in (1, 2, 4, 8, 16, 32, 64) if size < args.max_batch_size)
                rule = BatchingRule(args.max_batch_size, timeout, allowed_batch_sizes=(*allowed, args.max_batch_size))
                server = BatchingServer(session, None if timeout < 0 else rule)
                for clients in args.clients:
                    before = len(server.batcher.sizes) if server.batcher else 0
                    load = drive(
                        server.address,
                        images,
                        expected,
                        clients=clients,
                        rows=args.rows,
                        requests=args.requests,
                        seconds=args.seconds,
                    )
                    sizes = server.batcher.sizes[before:] if server.batcher else [args.rows]
                    lost = len(load.latencies) * args.rows - load.images + load.wrong
                    p50, p99 = np.percentile(load.latencies, [50, 99]) * 1e3
                    print(
                        f"{'no batching' if timeout < 0 else timeout} | {clients} | {load.images / load.seconds:.0f} | "
                        f"{p50:.1f} | {p99:.1f} | {statistics.mean(sizes):.1f} | {len(load.latencies)} | {lost}",
                        flush=True,
                    )
                    if lost:
                        raise SystemExit(f"{lost} rows are missing or another image's")
                server.close()


if __name__ == "__main__":
    main()
