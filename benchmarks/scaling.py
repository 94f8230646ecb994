"""Images per second of a SimCLR step on 1 and 2 replicas of one process, and on 1 and 2 worker processes.

    python benchmarks/scaling.py [--batch=128] [--steps=10] [--width=0.25]

ResNet-18 on 32x32 images; the global batch stays the same. Replicas are logical devices of one CPU and workers are
processes on one machine, so they share its cores: what the table shows is what replication itself costs, not a speed-up.
On machines of their own, workers share only the network, for which see `tfcontrastive plan`.
"""

import argparse
import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import time

from machine import machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def measure(strategy, replicas, batch, steps, width):
    """Seconds of each step after the first, in this process."""
    from tfcontrastive import distribute

    made = distribute.make_strategy(strategy, num_virtual_replicas=replicas if strategy == "mirrored" else 0)
    import keras
    import numpy as np
    import tensorflow as tf

    import tfcontrastive

    with made.scope():
        encoder = tfcontrastive.ResNet(18, width_multiplier=width, input_shape=(32, 32, 3))
        model = tfcontrastive.SimCLR(encoder, tfcontrastive.SimCLRConfig())
        model.compile(optimizer=tfcontrastive.LARS(0.1))
    views = tuple(tf.random.stateless_uniform([batch, 32, 32, 3], [0, view]) for view in range(2))
    data = tf.data.Dataset.from_tensors((views, tf.fill([batch], -1))).repeat()
    times = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            float(np.mean(logs["loss"]))  # waits for the step
            times.append(time.perf_counter())

    model.fit(data, steps_per_epoch=steps + 1, epochs=1, verbose=0, callbacks=[Clock()])
    return [later - sooner for sooner, later in itertools.pairwise(times)]


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def row(name, strategy, processes, replicas, options):
    """One line of the table, run in processes of its own."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(processes)]
    running = []
    for index in range(processes):
        environment = dict(os.environ)
        if strategy == "multi_worker":
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment["TF_CONFIG"] = json.dumps(task)
        command = [sys.executable, __file__, f"--measure={strategy}", f"--replicas={replicas}"]
        command += [f"--batch={options.batch}", f"--steps={options.steps}", f"--width={options.width}"]
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
    outputs = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{name}: a process failed, see above")
    seconds = sorted(json.loads(outputs[0].splitlines()[-1]))
    middle = seconds[len(seconds) // 2]
    print(f"{name:24} {middle:8.3f} s a step {options.batch / middle:10.1f} images/s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128, help="images of the global batch; each gives two views")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--measure", choices=["none", "mirrored", "multi_worker"], help=argparse.SUPPRESS)
    parser.add_argument("--replicas", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        seconds = measure(options.measure, options.replicas, options.batch, options.steps, options.width)
        print(json.dumps(seconds))
        return
    print(f"{machine()}; load of the machine before: {os.getloadavg()[0]:.1f}")
    row("1 replica", "none", 1, 1, options)
    row("2 replicas, 1 process", "mirrored", 1, 2, options)
    row("1 worker", "multi_worker", 1, 1, options)
    row("2 workers, 2 processes", "multi_worker", 2, 1, options)


if __name__ == "__main__":
    main()
