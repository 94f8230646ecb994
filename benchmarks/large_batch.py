"""Peak memory of a SimCLR step on a batch larger than memory, beside the plain step's.

    python benchmarks/large_batch.py [--batch=4096] [--micro_batch_size=128] [--plain=128 256]

ResNet-18 on 32x32 images, two views each. Every row is one step in a process of its own; what a process takes before its
model is made (TensorFlow itself) is not subtracted. The plain step runs at batches that fit, and its memory at `--batch`
is that of the line through them. Beside each measured figure: what `tfcontrastive plan` estimates for it, which leaves out
the libraries.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from machine import machine

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def status(field):
    """A figure of this process in bytes: VmRSS, what it holds; VmHWM, the most it has held."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))


def measure(batch, micro_batch_size, width, encoder="resnet"):
    """One step in this process: its peak memory, what that adds to the libraries, the plan's figure, seconds."""

    import tensorflow as tf

    from tfcontrastive.config import DataConfig, EncoderConfig, LoopConfig, TrainConfig
    from tfcontrastive.data import ImageSpec
    from tfcontrastive.methods import SimCLRConfig
    from tfcontrastive.planning.cost import estimate
    from tfcontrastive.runs.builders import build_model
    from tfcontrastive.runs.schedule import Plan

    small = {"resnet_depth": 18} if encoder == "resnet" else {"patch_size": 4, "vit_depth": 4}
    config = TrainConfig(
        method_config=SimCLRConfig(),
        data=DataConfig(image_size=32),
        encoder=EncoderConfig(encoder=encoder, width_multiplier=width, **small),
        loop=LoopConfig(train_batch_size=batch, micro_batch_size=micro_batch_size, mixed_precision="float32"),
    )
    tf.function(lambda x: tf.nn.conv2d(x, tf.zeros([3, 3, 3, 8]), 1, "SAME"))(tf.zeros([8, 32, 32, 3]))
    before = status("VmRSS")
    images = ImageSpec(channels=3)
    model = build_model(config, images, Plan.make(config, num_examples=batch))
    views = [tf.random.stateless_uniform([batch, 32, 32, 3], [0, view]) for view in range(2)]
    data = tf.data.Dataset.from_tensors(((views[0], views[1]),)).map(lambda views: (views, tf.fill([batch], -1)))
    start = time.perf_counter()
    model.fit(data, verbose=0, shuffle=False)
    peak = status("VmHWM")  # a child's ru_maxrss begins at its parent's
    return {
        "peak": peak,
        "added": peak - before,
        "planned": estimate(model, config, 1).total_memory,
        "seconds": time.perf_counter() - start,
    }


def row(batch, micro_batch_size, width):
    command = [sys.executable, __file__, "--measure", f"--batch={batch}", f"--width={width}"]
    command += [f"--micro_batch_size={micro_batch_size}"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    name = f"micro batches of {micro_batch_size}" if micro_batch_size else "plain"
    print(
        f"{batch:6} {name:22} {found['peak'] / 1e9:9.2f} GB {found['added'] / 1e9:9.2f} GB "
        f"{found['planned'] / 1e9:9.2f} GB {found['seconds']:8.1f} s",
        flush=True,
    )
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096, help="images; each gives two views")
    parser.add_argument("--micro_batch_size", type=int, default=128)
    parser.add_argument("--plain", type=int, nargs="+", default=[128, 256], help="batches of the plain step")
    parser.add_argument("--width", type=float, default=1.0, help="width multiplier of the ResNet")
    parser.add_argument("--encoder", default="resnet", help="of --measure; a ViT has 4 blocks and patches of 4 pixels")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        import tfcontrastive  # noqa: F401  before TensorFlow, as it turns oneDNN on

        print(json.dumps(measure(options.batch, options.micro_batch_size, options.width, options.encoder)))
        return
    print(machine())
    print(f"{'images':>6} {'step':22} {'peak':>12} {'it adds':>12} {'planned':>12} {'time':>10}")
    plain = {batch: row(batch, 0, options.width)["peak"] for batch in options.plain}
    (small, low), (large, high) = min(plain.items()), max(plain.items())
    if large > small:
        at = low + (high - low) * (options.batch - small) / (large - small)
        print(f"{options.batch:6} {'plain, by that line':22} {at / 1e9:9.2f} GB")
    row(options.batch, options.micro_batch_size, options.width)


if __name__ == "__main__":
    main()
