"""How fast an exported encoder is: images per second of one network by each of its consumers, in one run.

    python benchmarks/export.py [--depth 50] [--image_size 224] [--batch 1 32]

Rows: `model.predict` of Keras, the SavedModel's `serving_default`, its `image_bytes` (JPEG files of image_size + 30% a
side; decoding, cropping and resizing included), the same two signatures exported with `optimize=True`, and ONNX Runtime
where it is installed. Every row is a process of its own with the same two warm-up calls; the rows take turns, round by
round, and a ratio is the median over rounds of the ratio to Keras in the same round, so that a machine that others use
changes it little.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from machine import machine

ROWS = ("keras", "serving", "bytes", "serving-opt", "bytes-opt", "onnx")
NAMES = {
    "keras": "Keras predict",
    "serving": "serving_default",
    "bytes": "image_bytes",
    "serving-opt": "serving_default, optimized",
    "bytes-opt": "image_bytes, optimized",
    "onnx": "ONNX Runtime",
}


def prepare(args):
    """Writes the network in every form, with the statistics of a few steps; prints what the rewrite changes."""
    import numpy as np
    import tensorflow as tf

    from tfcontrastive import export
    from tfcontrastive.encoders import ResNet

    encoder = ResNet(args.depth, args.width, input_shape=(args.image_size, args.image_size, 3))
    images = np.random.RandomState(0).rand(8, args.image_size, args.image_size, 3).astype("float32")
    for norm in (layer for layer in encoder.layers if hasattr(layer, "moving_variance")):
        norm.gamma.assign(tf.fill(norm.gamma.shape, 0.8))  # zero gammas would make whole branches vanish
    for _ in range(3):
        encoder(images, training=True)
    encoder.save(os.path.join(args.folder, "encoder.keras"))
    plain = export.save_model(encoder, os.path.join(args.folder, "plain"))
    optimized = export.save_model(encoder, os.path.join(args.folder, "optimized"), optimize=True)
    vectors = [
        tf.saved_model.load(path).signatures["serving_default"](images=tf.constant(images))["embedding"].numpy()
        for path in (plain, optimized)
    ]
    difference, largest = np.abs(vectors[0] - vectors[1]).max(), np.abs(vectors[0]).max()
    print(f"optimized: largest difference {difference:.2g} in vectors of up to {largest:.2g}")
    if "onnx" in args.rows:
        export.to_onnx(plain, os.path.join(args.folder, "encoder.onnx"), image_size=args.image_size, images=images)


def call_of(args):
    """The row's call on one batch, as a function without arguments."""
    import numpy as np

    size = args.image_size
    images = np.random.RandomState(1).rand(args.batch[0], size, size, 3).astype("float32")
    if args.serve == "onnx":
        import onnxruntime

        path = os.path.join(args.folder, "encoder.onnx")
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return lambda: session.run(["embedding"], {"images": images})
    import tensorflow as tf

    if args.serve == "keras":
        import keras

        import tfcontrastive  # noqa: F401  its layers are registered by this
        from tfcontrastive import encoders  # noqa: F401

        model = keras.models.load_model(os.path.join(args.folder, "encoder.keras"))
        return lambda: model.predict(images, batch_size=len(images), verbose=0)
    kind, _, optimized = args.serve.partition("-")
    model = tf.saved_model.load(os.path.join(args.folder, "optimized" if optimized else "plain", "1"))
    if kind == "serving":
        signature, batch = model.signatures["serving_default"], images
        return lambda: signature(images=tf.constant(batch))["embedding"].numpy()
    signature, files = model.signatures["image_bytes"], jpegs(args.batch[0], size)
    return lambda: signature(image_bytes=tf.constant(files))["embedding"].numpy()


def jpegs(count, size):
    """Smooth pictures with some grain, as photographs are."""
    import numpy as np
    import tensorflow as tf

    rng, side = np.random.default_rng(0), round(size * 1.3)
    files = []
    for _ in range(count):
        smooth = tf.image.resize(rng.random((12, 12, 3)), [side, side], "bicubic")
        pixels = tf.image.convert_image_dtype(smooth + rng.normal(0, 0.02, smooth.shape), tf.uint8, saturate=True)
        files.append(tf.io.encode_jpeg(pixels, quality=90).numpy())
    return files


def serve(args):
    """Answers each line `n` with the seconds that n calls take, from warm."""
    call = call_of(args)
    for _ in range(2):
        call()
    print("ready", flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        for _ in range(int(line)):
            call()
        print(json.dumps(time.perf_counter() - start), flush=True)


class Row:
    """One row of the table, running in its own process."""

    def __init__(self, name, batch, args):
        command = [sys.executable, str(pathlib.Path(__file__).resolve()), f"--serve={name}", f"--batch={batch}"]
        command += [f"--image_size={args.image_size}", f"--folder={args.folder}"]
        self.name, self.batch, self.rates = name, batch, []
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        if not any(line.strip() == "ready" for line in self.process.stdout):
            raise SystemExit(f"row {name} failed")

    def run(self, calls):
        self.process.stdin.write(f"{calls}\n")
        self.process.stdin.flush()
        seconds = json.loads(self.process.stdout.readline())
        self.rates.append(calls * self.batch / seconds)
        return seconds

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def measure(batch, args):
    """Prints the table of one batch size."""
    rows = [Row(name, batch, args) for name in args.rows]
    calls = {row.name: max(1, round(args.seconds / row.run(1))) for row in rows}
    for row in rows:
        row.rates.clear()
    for _ in range(args.rounds):
        for row in rows:
            row.run(calls[row.name])
    for row in rows:
        row.close()
    rates = {row.name: row.rates for row in rows}
    print(f"\nResNet-{args.depth} x{args.width:g}, {args.image_size}x{args.image_size}, batch {batch}, float32")
    for name, mine in rates.items():
        text = f"  {NAMES[name]:28s}{statistics.median(mine):9.2f} images/s  ({min(mine):.2f} to {max(mine):.2f})"
        for other, label in (("keras", "of Keras predict"), (name.removesuffix("-opt"), "of the unoptimized")):
            if other in rates and other != name:
                text += f"  {statistics.median(a / b for a, b in zip(mine, rates[other], strict=True)):.3f} {label}"
        print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rows", nargs="+", choices=ROWS, help="the rows to run; all that are installed by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a row in a round, about")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=[*ROWS, "prepare"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve and args.serve != "onnx":
        from tfcontrastive.commands.main import import_tensorflow

        import_tensorflow()  # without its messages
    if args.serve == "prepare":
        prepare(args)
        return
    if args.serve:
        serve(args)
        return
    print(machine())
    if args.rows is None:
        args.rows = [row for row in ROWS if row != "onnx" or has_onnx()]
    with tempfile.TemporaryDirectory() as args.folder:
        command = [sys.executable, __file__, "--serve=prepare", f"--depth={args.depth}", f"--width={args.width}"]
        command += [f"--image_size={args.image_size}", f"--folder={args.folder}", "--rows", *args.rows]
        subprocess.run(command, check=True)
        for batch in args.batch:
            measure(batch, args)


def has_onnx():
    from importlib.util import find_spec

    found = all(find_spec(name) for name in ("onnxruntime", "tf2onnx"))
    if not found:
        print("ONNX Runtime or tf2onnx is not installed: no row for it (pip install 'tfcontrastive[onnx]')")
    return found


if __name__ == "__main__":
    main()
