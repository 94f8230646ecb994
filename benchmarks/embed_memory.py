"""How much memory `embed` takes, from ten thousand to a million images: peak and speed, one process a row.

    python benchmarks/embed_memory.py [--counts 10000 100000 1000000] [--format npy] [--dtype float32]

The images are made as they are asked for (8 x 8 pixels, one in a thousand of them unreadable), the network is a pooling
layer and a dense one of 256 numbers, so that what grows with the number of images would be seen.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from machine import machine


def embed(args):
    """Embeds `count` images and prints the figures of this process as JSON."""
    import keras
    import numpy as np

    from tfcontrastive import export

    (count,) = args.counts
    images = keras.Input((8, 8, 3))
    features = keras.layers.Dense(256)(keras.layers.GlobalAveragePooling2D()(images))
    saved_model = export.save_model(keras.Model(images, features), os.path.join(args.folder, "model"))
    noise = np.random.default_rng(0).random((1024, 8, 8, 3), np.float32)

    def items(start):
        for i in range(start, count):
            yield f"image/{i:07d}", np.full_like(noise[0], np.nan) if i % 1000 == 999 else noise[i % len(noise)]

    done = export.embed_images(saved_model, items, os.path.join(args.folder, "vectors"), batch_size=256,
                               format=args.format, dtype=args.dtype)  # fmt: skip
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(int(line.split()[1]) for line in file if line.startswith("VmHWM")) / 1024
    print(json.dumps({"peak": peak, "rows": done.rows, "skipped": len(done.skipped), "speed": done.images_per_second}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--format", default="npy", choices=["npy", "parquet", "tfrecord"])
    parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "int8"])
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder is not None:
        from tfcontrastive.commands.main import import_tensorflow

        import_tensorflow()  # without its messages
        embed(args)
        return
    print(machine())
    print(f"{'images':>10s}{'vectors':>10s}{'left out':>10s}{'peak MB':>10s}{'images/s':>10s}")
    for count in args.counts:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, str(pathlib.Path(__file__).resolve()), f"--counts={count}", f"--folder={folder}"]
            command += [f"--format={args.format}", f"--dtype={args.dtype}"]
            found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(f"{count:10,d}{found['rows']:10,d}{found['skipped']:10,d}{found['peak']:10,.0f}{found['speed']:10,.0f}",
              flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
