"""Many clients of one server: latency and images per second of `EmbeddingClient` over gRPC on loopback.

    python benchmarks/load.py [--depth 18] [--width 0.25] [--image_size 32] [--clients 1 2 4 8 16 32] [--seconds 4]

The server is the test's stand-in for TensorFlow Serving: its C++ loader of SavedModels behind the real gRPC service, with
the rule of `export/serving/batching.config` simulated (at most 64 images a batch, 5 ms of waiting, filled up to 1, 8, 32 or
64). Each client is a thread with a connection of its own, sends one image after the other and waits for the answer; its
vectors are compared with those of the network itself. Clients, server and batching share the machine and one Python process,
the network has its own: where many clients ask for a small network, Python is what is measured.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import threading
import time

from machine import machine

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def ask(address, images, expected, until, latencies, wrong, most):
    import numpy as np

    from tfcontrastive.export import EmbeddingClient

    rng = np.random.default_rng(threading.get_ident())
    with EmbeddingClient(address, timeout=60) as client:
        while time.monotonic() < until and len(latencies) < most:
            row = int(rng.integers(len(images)))
            start = time.perf_counter()
            vector = client.embed(images[row : row + 1])[0]
            latencies.append(time.perf_counter() - start)
            if np.abs(vector - expected[row]).max() > 1e-4 * np.abs(expected).max():
                wrong.append(row)


def measure(clients, args, address, images, expected, stub):
    import numpy as np

    stub.batching.sizes.clear()
    until = time.monotonic() + args.seconds
    latencies, wrong = [[] for _ in range(clients)], []
    threads = [
        threading.Thread(target=ask, args=(address, images, expected, until, mine, wrong, args.requests // clients))
        for mine in latencies
    ]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    found = 1000 * np.concatenate(latencies)
    p50, p99 = np.percentile(found, [50, 99])
    lost = len(found) - sum(stub.batching.sizes)
    batch = np.mean(stub.batching.sizes)
    print(
        f"| {clients} | {p50:.1f} | {p99:.1f} | {len(found) / seconds:,.0f} | {batch:.1f} | {lost} | {len(wrong)} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each number of clients")
    parser.add_argument("--requests", type=int, default=20_000, help="of each number of clients, at most")
    args = parser.parse_args()
    import numpy as np
    import tensorflow as tf

    from tests.export.batching import BatchingStub
    from tfcontrastive import export
    from tfcontrastive.encoders import ResNet

    stem = "small" if args.image_size <= 64 else "large"
    encoder = ResNet(args.depth, args.width, input_shape=(args.image_size, args.image_size, 3), stem=stem)
    images = np.random.default_rng(0).random((64, args.image_size, args.image_size, 3), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        path = export.save_model(encoder, folder)
        model = tf.saved_model.load(path)
        expected = model.signatures["serving_default"](images=tf.constant(images))["embedding"].numpy()
        print(f"ResNet-{args.depth} x{args.width:g}, {args.image_size} px; {machine()}; load {os.getloadavg()[0]:.1f}")
        print("| clients | p50, ms | p99, ms | images/s | mean batch | lost | wrong |\n|---|---|---|---|---|---|---|")
        with export.CppSession(path) as session:
            stub = BatchingStub(path, session, workers=max(args.clients))
            for size in (1, 8, 32, 64):  # warm
                session.run("serving_default", images=images[:size])
            for clients in args.clients:
                measure(clients, args, stub.grpc_address, images, expected, stub)
            stub.close()


if __name__ == "__main__":
    main()
