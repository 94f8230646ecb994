"""Time and memory of forward and backward of the contrastive losses, dense and tiled.

    python benchmarks/loss_memory.py [--rows=65536] [--width=128] [--rounds=7]

The first table compares the two forms where both fit; its rounds go from form to form, so that whatever else the
machine does falls on both. The second runs each loss once at `--rows`, in a process of its own, where the dense form
would not fit, and prints what it adds to the peak memory of the process.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from machine import machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
COMPARED = (2048, 8192)


def losses_of(rows, width):
    """name -> (loss of one tensor, that tensor), with a matrix of rows x rows logits each."""
    import tensorflow as tf

    from tfcontrastive import losses

    half = tf.random.stateless_normal([rows // 2, 2, width], [0, 1])
    z, noise, queue = (tf.random.stateless_normal([rows, width], [0, seed]) for seed in (2, 3, 5))
    labels = tf.random.stateless_uniform([rows // 2], [0, 4], maxval=1000, dtype=tf.int32)
    return {
        "nt_xent": (lambda z: losses.nt_xent(z[:, 0], z[:, 1], temperature=0.1), half),
        "info_nce": (lambda z: losses.info_nce(z, z + noise, queue, temperature=0.1), z),
        "sup_con": (lambda z: losses.sup_con(z, labels, temperature=0.1), half),
    }


def compiled(loss):
    """Forward and backward as one graph; tracing fixes the form."""
    import tensorflow as tf

    @tf.function
    def step(z):
        with tf.GradientTape() as tape:
            tape.watch(z)
            value = loss(z)
        return value, tape.gradient(value, z)

    def run(z):
        value, gradient = step(z)
        return float(value), gradient.numpy()

    return run


def compare(width, rounds):
    import numpy as np

    from tfcontrastive.losses import row_softmax

    print(f"{'loss':10} {'rows':>6} {'dense':>9} {'tiled':>9} {'ratio':>6} {'gradient differs by':>20}")
    for rows in COMPARED:
        for name, (loss, z) in losses_of(rows, width).items():
            forms, results = {}, {}
            for form, limit in (("dense", rows**2), ("tiled", 0)):
                row_softmax.DENSE_LIMIT = limit
                forms[form] = compiled(loss)
                results[form] = forms[form](z)
            times = {form: [] for form in forms}
            for _ in range(rounds):
                for form, run in forms.items():
                    start = time.perf_counter()
                    run(z)
                    times[form].append(time.perf_counter() - start)
            dense, tiled = (statistics.median(times[form]) for form in forms)
            ratio = statistics.median(b / a for a, b in zip(*times.values(), strict=True))
            largest = np.abs(results["dense"][1]).max()
            apart = np.abs(results["dense"][1] - results["tiled"][1]).max() / largest
            print(f"{name:10} {rows:6} {dense:7.3f} s {tiled:7.3f} s {ratio:6.2f} {apart:20.1e}", flush=True)


def status(field):
    """A field of the process' memory status, in bytes."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measure(name, rows, width):
    """One loss at full size in this process."""
    loss, z = losses_of(rows, width)[name]
    small_loss, small_z = losses_of(256, width)[name]
    compiled(small_loss)(small_z)  # what TensorFlow itself takes on first use
    run = compiled(loss)
    before, start = status("VmRSS"), time.perf_counter()
    run(z)
    seconds, added = time.perf_counter() - start, (status("VmHWM") - before) / 1e6
    print(f"{name:10} {rows:6} {seconds:7.1f} s {added:8.0f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=65_536, help="rows of logits in the memory table (2N for NT-Xent)")
    parser.add_argument("--width", type=int, default=128, help="size of an embedding")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        return measure(options.measure, options.rows, options.width)
    print(machine())
    compare(options.width, options.rounds)
    dense = options.rows**2 * 4 / 1e6
    print(f"\nAbove the limit, tiled (one matrix of the dense form alone: {dense:.0f} MB):")
    print(f"{'loss':10} {'rows':>6} {'time':>9} {'peak adds':>11}")
    for name in ("nt_xent", "info_nce", "sup_con"):
        command = [sys.executable, __file__, f"--measure={name}", f"--rows={options.rows}", f"--width={options.width}"]
        subprocess.run(command, check=True)
    return None


if __name__ == "__main__":
    main()
