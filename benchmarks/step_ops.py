"""What a training step on a CPU is made of: time by operation, beside what products of matrices take.

    taskset -c 0 python benchmarks/step_ops.py [--row bare] [--width 0.25] [--precision bfloat16] [--image_size 32]
    python benchmarks/step_ops.py --threads 2

The steps of `train_step.py`, one operation after the other, each on so many threads; TensorFlow's profiler tells when each
began and ended, and what is inside of another is counted once. Arithmetic is that of the network alone, three times its
forward pass; the peak is that of products of 1,024 x 1,024 matrices in the same precision, by the same threads. On a busy
core the times are longer, as they are by the clock.
"""

import argparse
import collections
import glob
import tempfile
import time

import train_step
from machine import machine

KINDS = (
    ("convolutions", ("Conv2D",)),
    ("their gradient by the images", ("Conv2DBackpropInput",)),
    ("their gradient by the kernels", ("Conv2DBackpropFilter",)),
    ("products (kernels' gradients of small maps, head)", ("MatMul", "BatchMatMul", "BatchMatMulV2")),
    ("batch normalisation", ("FusedBatchNormV3", "FusedBatchNormEx")),
    ("its gradient", ("FusedBatchNormGradV3", "FusedBatchNormGradEx")),
    ("ReLU, sums of blocks, and their gradients", ("Relu", "ReluGrad", "AddV2", "AddN", "Add")),
    ("padding, slices, casts, transposes", ("Pad", "StridedSlice", "Slice", "Cast", "Transpose", "ConcatV2", "Concat")),
)


def self_times(space) -> collections.Counter:
    """Picoseconds of each operation without those inside of it, by its type."""
    found = collections.Counter()
    for plane in space.planes:
        if "CPU" not in plane.name:
            continue
        for line in plane.lines:
            open_ones = []
            events = [
                (one.offset_ps, -one.duration_ps, plane.event_metadata[one.metadata_id].name) for one in line.events
            ]
            for start, negative, name in sorted(events):
                while open_ones and open_ones[-1][0] <= start:
                    open_ones.pop()
                kind = name.rpartition(":")[2].partition("#")[0].removeprefix("_MklNative").removeprefix("_Mkl")
                if open_ones:
                    found[open_ones[-1][1]] += negative
                found[kind] -= negative
                open_ones.append((start - negative, kind))
    return found


def profile(step, steps: int) -> tuple[float, collections.Counter]:
    """Seconds of a step, and of its operations, by type."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    for _ in range(4):
        step()
    with tempfile.TemporaryDirectory() as folder:
        options = tf.profiler.experimental.ProfilerOptions(host_tracer_level=2, python_tracer_level=0)
        tf.profiler.experimental.start(folder, options=options)
        began = time.perf_counter()
        for _ in range(steps):
            step()
        seconds = (time.perf_counter() - began) / steps
        tf.profiler.experimental.stop()
        space = xplane_pb2.XSpace()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        with open(path, "rb") as file:
            space.ParseFromString(file.read())
    return seconds, collections.Counter({kind: spent / 1e12 / steps for kind, spent in self_times(space).items()})


def peak(precision: str, size: int = 1024) -> float:
    """Operations a second of products of matrices."""
    import tensorflow as tf

    matrix = tf.cast(tf.random.stateless_uniform([size, size], [0, 0]), precision)
    product = tf.function(lambda x: tf.matmul(x, x))
    times = []
    for _ in range(12):
        began = time.perf_counter()
        product(matrix).numpy()
        times.append(time.perf_counter() - began)
    return 2 * size**3 / min(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--row", choices=train_step.ROWS, default="bare")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128, help="images per step; each gives two views")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()

    from tfcontrastive.planning.cost import forward_flops  # before TensorFlow, as the package turns oneDNN on

    import tensorflow as tf  # isort: skip

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(machine())
    seconds, operations = profile(train_step.ROWS[options.row](options), options.steps)
    flops = 3 * 2 * options.batch * forward_flops(train_step.network(options), options.image_size)
    best = peak(options.precision)
    named = {name: sum(operations.pop(kind, 0.0) for kind in kinds) for name, kinds in KINDS}
    named["the rest"] = seconds - sum(named.values())
    print(
        f"\n| ResNet-{options.depth} x{options.width:g}, {options.precision}, `{options.row}` | ms | share |\n|---|---|---|"
    )
    for name, time_of in named.items():
        print(f"| {name} | {1000 * time_of:.1f} | {time_of / seconds:.0%} |")
    print(f"| a step | {1000 * seconds:.1f} | |")
    inside = sum(named[name] for name, _ in KINDS[:4])
    rates = [f"{rate / 1e9:.0f}" for rate in (flops / seconds, flops / inside, best)]
    print(
        f"\n{flops / 1e9:.1f} GFLOP of the network, in GFLOP/s: {rates[0]} of the step, {rates[1]} of its convolutions and"
    )
    print(f"products, {rates[2]} of a product of matrices.")


if __name__ == "__main__":
    main()
