"""How fast the input pipeline alone is: images per second, with nothing trained on them.

    python benchmarks/input.py [--seconds 5] [--images 512] [--pixels 400] [--cores 1]

Two views an image, SimCLR's crop and flip, without the photometric ops, which run on the device. The JPEG folder is
made in a temporary directory: smooth random pictures with some grain, `--pixels` on the longer side, quality 90.
"A core" is a second of processor time, which tells the cost on a busy machine too.
"""

import argparse
import contextlib
import os
import pathlib
import tempfile
import time
from unittest import mock

import numpy as np
from machine import machine
from PIL import Image


def make_folder(directory: pathlib.Path, count: int, longer: int = 400) -> int:
    """Writes `count` JPEGs in four sub-folders and returns their mean size in bytes."""
    rng = np.random.default_rng(0)
    total = 0
    for index in range(count):
        shorter = longer * 3 // 4
        height, width = (shorter, longer) if index % 2 else (longer, shorter)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        pixels = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        path = directory / str(index % 4) / f"{index:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
        total += path.stat().st_size
    return total // count


def rate(batches, batch_size: int, seconds: float) -> tuple[float, float]:
    """Images per second, and per second of processor time, after a few batches to warm up."""
    iterator = iter(batches)
    for _ in range(3):
        next(iterator)
    start, processor, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - start < seconds:
        next(iterator)
        done += batch_size
    return done / (time.perf_counter() - start), done / (time.process_time() - processor)


@contextlib.contextmanager
def whole_images():
    """Makes the pipeline decode whole JPEGs, as it does other files; all else stays the same."""
    import tensorflow as tf

    from tfcontrastive.data import images

    with mock.patch.object(images, "_is_simple_jpeg", return_value=tf.constant(False)):
        yield


def measure(options) -> None:
    from tfcontrastive import augment, data

    geometry = augment.policy("simclr").geometry

    def batches(source, batch_size, size):
        return data.train_batches(source, "train", batch_size=batch_size, image_size=size, geometry=geometry, seed=0)

    def report(what, batches, batch_size):
        wall, processor = rate(batches, batch_size, options.seconds)
        print(f"{what:52s}{wall:10,.0f}{2 * wall:10,.0f}{processor:18,.0f}{2 * processor:17,.0f}", flush=True)

    cores = f"{options.cores} core(s), two views an image"
    print(f"{cores:52s}{'images/s':>10s}{'views/s':>10s}{'images/s a core':>18s}{'views/s a core':>17s}")
    embedded = data.load("embedded")
    report("embedded, 28 -> 32 px, in memory, batch 256", batches(embedded, 256, 32), 256)
    color = np.random.default_rng(0).integers(0, 256, (10000, 32, 32, 3), dtype=np.uint8)
    color = data.ArraySource({"train": (color, None)})
    report("32 px RGB, in memory, batch 256", batches(color, 256, 32), 256)
    streamed = data.load("embedded", cache=False)
    report("embedded, 28 -> 32 px, decoded as needed, batch 256", batches(streamed, 256, 32), 256)
    with tempfile.TemporaryDirectory() as directory:
        size = make_folder(pathlib.Path(directory), options.images, options.pixels)
        folder = data.load(f"folder:{directory}", cache=False)
        start = time.perf_counter()
        folder.check(os.path.join(directory, "bad_files.txt"))
        checked = options.images / (time.perf_counter() - start)
        files = f"folder of {options.images} JPEGs, {options.pixels} px, {size / 1e3:.0f} kB each"
        print(f"{files}; checked at {checked:,.0f} images/s")
        report("folder -> 224 px, crops decoded, batch 64", batches(folder, 64, 224), 64)
        with whole_images():
            whole = batches(folder, 64, 224)
        report("folder -> 224 px, whole images decoded, batch 64", whole, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="time of each measurement")
    parser.add_argument("--images", type=int, default=512, help="JPEGs in the folder")
    parser.add_argument("--pixels", type=int, default=400, help="longer side of a JPEG")
    parser.add_argument("--cores", type=int, default=1, help="cores to use")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[: options.cores]))  # before TensorFlow counts them
    print(machine())
    measure(options)


if __name__ == "__main__":
    main()
