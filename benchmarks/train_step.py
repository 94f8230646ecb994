"""Views per second of a SimCLR training step, measured in interleaved rounds on this machine.

    python benchmarks/train_step.py --torch_python=/path/to/python
    python benchmarks/train_step.py --depth=50 --width=1 --image_size=224 --rows bare bare-xla loop xla    # of a GPU

Rows: `bare` is forward, NT-Xent, backward and update on fixed tensors, `bare-xla` the same compiled by XLA; `loop` is
training as `tfcontrastive train` does it, data, augmentation, probe and metrics included, `xla` that loop with
`--jit_compile=on`, `xla-fed` the latter without the input pipeline, and `per-image` the loop with views made image by
image; `torch` is the same network, batch, precision and optimizer in PyTorch (on the GPU where there is one,
channels_last, autocast, a malloc that keeps its memory), run by the Python given, which needs
only torch, and `torch-compiled` its network through `torch.compile`. Each row has a process of its own, and rounds go
from row to row, so that whatever else the machine does falls on all of them. Printed are the medians of the rounds, the
median over rounds of each row's ratio to the first, and the extremes.

Run it on an idle machine: a PyTorch step suffers more than ours from threads that others keep busy. On a GPU all rows
share its memory.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

from machine import KEEPS_MEMORY, machine

HERE = pathlib.Path(__file__).resolve().parent


def network(options):
    import keras

    from tfcontrastive.encoders import ResNet

    keras.config.set_dtype_policy("float32" if options.precision == "float32" else f"mixed_{options.precision}")
    return ResNet(options.depth, options.width, input_shape=(options.image_size, options.image_size, 3))


def bare_step(options, jit_compile=False):
    """The step of our network on fixed tensors: returns a function that runs one and waits for it."""
    import keras
    import tensorflow as tf

    from tfcontrastive.encoders import ProjectionHead

    encoder = network(options)
    head = ProjectionHead(num_layers=2, dtype="float32")
    head.build(encoder.output_shape)
    weights = encoder.trainable_variables + head.trainable_variables
    optimizer = keras.optimizers.SGD(0.01, momentum=0.9)
    optimizer.build(weights)
    shape = [options.batch, options.image_size, options.image_size, 3]
    views = [tf.random.stateless_uniform(shape, [0, view]) for view in range(2)]
    positives = tf.concat([tf.range(options.batch) + options.batch, tf.range(options.batch)], 0)

    def nt_xent(z):
        z = tf.math.l2_normalize(tf.cast(z, tf.float32), axis=1)
        logits = tf.matmul(z, z, transpose_b=True) / 0.1 - 1e9 * tf.eye(2 * options.batch)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(positives, logits))

    @tf.function(jit_compile=jit_compile)
    def step(views):
        with tf.GradientTape() as tape:
            loss = nt_xent(head(encoder(tf.concat(views, 0), training=True), training=True))
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    return lambda: float(step(views))


def bare_xla_step(options):
    """The same, compiled by XLA."""
    return bare_step(options, jit_compile=True)


def images(options):
    """Training images as CIFAR-10's, of any size: uint8, RGB, with labels."""
    import numpy as np

    rng, count = np.random.default_rng(0), 5000 if options.image_size <= 64 else 2 * options.batch
    pixels = rng.integers(0, 256, (count, options.image_size, options.image_size, 3), dtype=np.uint8)
    return pixels, rng.integers(0, 10, count)


def fitted(options, batches, jit_compile=False):
    """A step of `fit` on batches: the whole method, with its online probe, metrics and LARS."""
    import tfcontrastive

    config = tfcontrastive.SimCLRConfig(num_proj_layers=2)
    model = tfcontrastive.SimCLR(network(options), config, num_classes=10)
    model.compile(optimizer=tfcontrastive.LARS(0.1), jit_compile=jit_compile)
    model.make_train_function()
    iterator = iter(batches(model))
    return lambda: float(model.train_function(iterator)["loss"])


def crops(options, model):
    """Batches of crops of images in memory, as the input pipeline makes them."""
    from tfcontrastive import data

    source = data.ArraySource({"train": images(options)})
    geometry = model.policy.geometry
    size = options.image_size
    return data.train_batches(source, "train", batch_size=options.batch, image_size=size, geometry=geometry, seed=0)


def whole_loop(options, jit_compile=False):
    """Data in memory, crops, colors and blur, and the step."""
    return fitted(options, lambda model: crops(options, model), jit_compile)


def xla_loop(options):
    """The same, compiled by XLA (`--jit_compile=on`)."""
    return whole_loop(options, jit_compile=True)


def fed_loop(options):
    """The loop compiled by XLA on one batch of crops again and again: what is left without the input pipeline."""
    return fitted(options, lambda model: crops(options, model).take(1).cache().repeat(), jit_compile=True)


def per_image_loop(options):
    """The same step fed by views that TensorFlow's single-image ops make, as google-research/simclr makes them."""
    import augmentation
    import tensorflow as tf

    pixels = tf.data.Dataset.from_tensor_slices(images(options)[0]).repeat()
    views = augmentation.per_image_views(pixels, options.image_size, 1.0, options.batch)
    return fitted(options, lambda model: views.map(lambda one, two: {"views": (one, two)}).prefetch(2))


# A row is a function of the options that returns one step as a function.
ROWS = {
    "bare": bare_step, "bare-xla": bare_xla_step, "loop": whole_loop, "xla": xla_loop, "xla-fed": fed_loop,
    "per-image": per_image_loop,
}  # fmt: skip
TORCH_ROWS = ("torch", "torch-compiled")


def serve(step):
    """Answers each line `n` with the seconds that n steps take, from warm."""
    for _ in range(3):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(json.dumps(time.perf_counter() - start), flush=True)


class Row:
    """One row of the table, running in its own process."""

    def __init__(self, name, width, precision, args):
        script = "torch_step.py" if name in TORCH_ROWS else "train_step.py"
        python = args.torch_python if name in TORCH_ROWS else sys.executable
        command = [python, HERE / script, f"--serve={name}", f"--depth={args.depth}", f"--batch={args.batch}"]
        command += [f"--width={width}", f"--precision={precision}", f"--image_size={args.image_size}"]
        self.name = name
        self.views = 2 * args.batch
        self.rates = []
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
        environment |= KEEPS_MEMORY if name in TORCH_ROWS else {}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def wait(self):
        for line in self.process.stdout:
            if line.strip() == "ready":
                return
        raise SystemExit(f"row {self.name} failed")

    def run(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        seconds = json.loads(self.process.stdout.readline())
        self.rates.append(steps * self.views / seconds)
        return seconds

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(names, width, precision, args):
    """Prints the table of one network and precision."""
    rows = [Row(name, width, precision, args) for name in names]
    for row in rows:
        row.wait()
    seconds = rows[0].run(1)
    steps = max(1, round(args.seconds / seconds))
    for row in rows:
        row.rates.clear()
    for _ in range(args.rounds):
        for row in rows:
            row.run(steps)
    for row in rows:
        row.close()
    side = args.image_size
    print(f"\nResNet-{args.depth} x{width:g}, {precision}, {side}x{side}, batch {args.batch} (two views)")
    for row in rows:
        ratio = statistics.median(mine / bare for mine, bare in zip(row.rates, rows[0].rates, strict=True))
        low, high = min(row.rates), max(row.rates)
        middle = statistics.median(row.rates)
        print(
            f"  {row.name:10s} {middle:9.1f} views/s  {ratio:6.3f} of {rows[0].name}  ({low:.0f} to {high:.0f})",
            flush=True,
        )


def precisions():
    """What is worth measuring here: bfloat16 only where the device multiplies it natively."""
    program = "from tfcontrastive.system.precision import fastest; print(fastest().name)"
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.split()
    return ["float32", *(["bfloat16"] if "bfloat16" in found else [])]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="a Python with torch; without it there is no row `torch`")
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *TORCH_ROWS], help="default: those of a CPU")
    parser.add_argument("--depth", type=int, default=18)
    parser.add_argument("--width", type=float, nargs="+", default=[1.0, 0.25])
    parser.add_argument(
        "--precision", nargs="+", choices=["float32", "bfloat16", "float16"], help="float32, and bfloat16 if native"
    )
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=128, help="images per step; each gives two views")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a row in a round, about")
    parser.add_argument("--serve", choices=ROWS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        import tfcontrastive  # noqa: F401  before TensorFlow, as it turns oneDNN on

        args.width, args.precision = args.width[0], args.precision[0]
        serve(ROWS[args.serve](args))
        return
    print(f"{machine()}; load of the machine before: {os.getloadavg()[0]:.1f}")
    names = args.rows or ["bare", "loop", "per-image", *(["torch"] if args.torch_python else [])]
    for width in args.width:
        for precision in args.precision or precisions():
            measure(names, width, precision, args)


if __name__ == "__main__":
    main()
