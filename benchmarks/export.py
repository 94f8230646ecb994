"""How fast an exported encoder is: images per second of one network by each of its consumers, in one run.

    python benchmarks/export.py [--depth 50] [--image_size 224] [--batch 1 32] [--onednn 0 1] [--threads 1]

Rows: `model.predict` of Keras; the SavedModel's `serving_default`, in which batch normalisation is folded and weights are
constants; its `image_bytes` (JPEG files of image_size + 30% a side; decoding, cropping and resizing included); the same
two of an export with `optimize=False`; ONNX Runtime and LiteRT where they are installed. By name only, what may close the
gap: `variables` (folded, weights as variables), `xla` (serving_default, compiled) and `bfloat16` (an encoder in it).
With `--onednn` each row of TensorFlow is run for each of its settings. Every row is a process of its own with the same two
warm-up calls; the rows take turns, round by round, and a ratio is the median over rounds of the ratio in the same round, so
that a machine that others use changes it little.
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

ROWS = ("keras", "serving", "bytes", "serving-plain", "bytes-plain", "onnx", "litert")
TRIES = ("variables", "xla", "bfloat16")
OTHERS = ("onnx", "litert")  # without TensorFlow
NAMES = {
    "keras": "Keras predict",
    "serving": "serving_default",
    "bytes": "image_bytes",
    "serving-plain": "serving_default, not folded",
    "bytes-plain": "image_bytes, not folded",
    "variables": "folded, weights as variables",
    "xla": "serving_default by XLA",
    "bfloat16": "serving_default in bfloat16",
    "onnx": "ONNX Runtime",
    "litert": "LiteRT",
}


def prepare(args):
    """Writes the network in every form, with the statistics of a few steps; prints what the rewrite changes."""
    import numpy as np
    import tensorflow as tf

    from tfcontrastive import export
    from tfcontrastive.encoders import ResNet

    shape = (args.image_size, args.image_size, 3)
    encoder = ResNet(args.depth, args.width, input_shape=shape)
    images = np.random.RandomState(0).rand(8, args.image_size, args.image_size, 3).astype("float32")
    for norm in (layer for layer in encoder.layers if hasattr(layer, "moving_variance")):
        norm.gamma.assign(tf.fill(norm.gamma.shape, 0.8))  # zero gammas would make whole branches vanish
    for _ in range(3):
        encoder(images, training=True)
    encoder.save(os.path.join(args.folder, "encoder.keras"))
    plain = export.save_model(encoder, os.path.join(args.folder, "plain"), optimize=False)
    optimized = export.save_model(encoder, os.path.join(args.folder, "folded"))
    vectors = [
        tf.saved_model.load(path).signatures["serving_default"](images=tf.constant(images))["embedding"].numpy()
        for path in (plain, optimized)
    ]
    difference, largest = np.abs(vectors[0] - vectors[1]).max(), np.abs(vectors[0]).max()
    print(f"folded: largest difference {difference:.2g} in vectors of up to {largest:.2g}")
    if "onnx" in args.rows:
        export.to_onnx(plain, os.path.join(args.folder, "encoder.onnx"), image_size=args.image_size, images=images)
    if "litert" in args.rows:
        export.to_tflite(plain, os.path.join(args.folder, "encoder.tflite"), image_size=args.image_size, images=images)
    if "bfloat16" in args.rows:
        half = ResNet(args.depth, args.width, input_shape=shape, dtype="mixed_bfloat16")
        half.set_weights(encoder.get_weights())
        export.save_model(half, os.path.join(args.folder, "bfloat16"))
    if "variables" in args.rows:
        from tfcontrastive.export import served_encoder

        served_encoder.MOST_CONSTANT_BYTES = 0
        export.save_model(encoder, os.path.join(args.folder, "variables"))


def call_of(args):
    """The row's call on one batch, as a function without arguments."""
    import numpy as np

    size = args.image_size
    images = np.random.RandomState(1).rand(args.batch[0], size, size, 3).astype("float32")
    if args.serve == "onnx":
        import onnxruntime

        path, options = os.path.join(args.folder, "encoder.onnx"), onnxruntime.SessionOptions()
        options.intra_op_num_threads = args.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(["embedding"], {"images": images})
    if args.serve == "litert":
        from ai_edge_litert.interpreter import Interpreter

        path = os.path.join(args.folder, "encoder.tflite")
        runner = Interpreter(path, num_threads=args.threads or None).get_signature_runner()
        return lambda: runner(images=images)["embedding"]
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)

    if args.serve == "keras":
        import keras

        import tfcontrastive  # noqa: F401  its layers are registered by this
        from tfcontrastive import encoders  # noqa: F401

        model = keras.models.load_model(os.path.join(args.folder, "encoder.keras"))
        return lambda: model.predict(images, batch_size=len(images), verbose=0)
    kind, _, plain = args.serve.partition("-")
    folder = kind if kind in ("variables", "bfloat16") else plain or "folded"
    model = tf.saved_model.load(os.path.join(args.folder, folder, "1"))
    if kind != "bytes":
        signature, batch = model.signatures["serving_default"], images
        if kind == "xla":
            signature = tf.function(signature, jit_compile=True)
        return lambda kept=model: signature(images=tf.constant(batch))["embedding"].numpy()
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

    def __init__(self, name, onednn, batch, args):
        command = [sys.executable, str(pathlib.Path(__file__).resolve()), f"--serve={name}", f"--batch={batch}"]
        command += [f"--image_size={args.image_size}", f"--folder={args.folder}", f"--threads={args.threads}"]
        self.name, self.onednn, self.batch, self.rates = name, onednn, batch, []
        environment = {**os.environ, **({"TF_ENABLE_ONEDNN_OPTS": onednn} if onednn else {})}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment, **pipes)
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
    settings = args.onednn or [""]
    rows = [
        Row(name, onednn, batch, args) for name in args.rows for onednn in (settings if name not in OTHERS else [""])
    ]
    calls = [max(1, round(args.seconds / row.run(1))) for row in rows]
    for row in rows:
        row.rates.clear()
    for _ in range(args.rounds):
        for row, count in zip(rows, calls, strict=True):
            row.run(count)
    for row in rows:
        row.close()
    rates = {(row.name, row.onednn): row.rates for row in rows}
    print(f"\nResNet-{args.depth} x{args.width:g}, {args.image_size}x{args.image_size}, batch {batch}, float32")
    for (name, onednn), mine in rates.items():
        words = f"{NAMES[name]}{', oneDNN ' + ('on' if onednn == '1' else 'off') if onednn else ''}"
        text = f"  {words:42s}{statistics.median(mine):9.2f} images/s  ({min(mine):.2f} to {max(mine):.2f})"
        for other, label in (("onnx", "of ONNX Runtime"), ("keras", "of Keras predict")):
            theirs = rates.get((other, "" if other in OTHERS else onednn))
            if theirs and other != name:
                text += f"  {statistics.median(a / b for a, b in zip(mine, theirs, strict=True)):.3f} {label}"
        print(text, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, *TRIES], help="default: all but the tries")
    parser.add_argument(
        "--onednn", nargs="+", choices=["0", "1"], help="its settings; default: TensorFlow's own choice"
    )
    parser.add_argument("--threads", type=int, default=0, help="of a row; 0: as each runtime chooses")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a row in a round, about")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--serve", choices=[*ROWS, *TRIES, "prepare"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve and args.serve not in OTHERS:
        from tfcontrastive.commands.main import import_tensorflow
        from tfcontrastive.system import onednn

        onednn.leave_to_tensorflow()  # as where a model serves
        import_tensorflow()  # without its messages
    if args.serve == "prepare":
        prepare(args)
        return
    if args.serve:
        serve(args)
        return
    print(machine())
    if args.rows is None:
        args.rows = [row for row in ROWS if row not in OTHERS or installed(row)]
    with tempfile.TemporaryDirectory() as args.folder:
        command = [sys.executable, __file__, "--serve=prepare", f"--depth={args.depth}", f"--width={args.width}"]
        command += [f"--image_size={args.image_size}", f"--folder={args.folder}", "--rows", *args.rows]
        subprocess.run(command, check=True)
        for batch in args.batch:
            measure(batch, args)


def installed(row):
    from importlib.util import find_spec

    wanted = {"onnx": ("onnxruntime", "tf2onnx"), "litert": ("ai_edge_litert",)}[row]
    found = all(find_spec(name) for name in wanted)
    if not found:
        print(f"{NAMES[row]}: no row, {' or '.join(wanted)} is not installed (the extras onnx and litert)")
    return found


if __name__ == "__main__":
    main()
