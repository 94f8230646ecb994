"""How fast the input pipeline alone is: images per second, with nothing trained on them.

    python benchmarks/input.py [--seconds 5] [--images 512] [--cores 1]

Two views an image, SimCLR's crop and flip, without the photometric ops, which run on the device. The JPEG folder is
made in a temporary directory: smooth random pictures with some grain, 400 pixels on the longer side, quality 90.
"""

import argparse
import os
import pathlib
import tempfile
import time

import numpy as np
from PIL import Image


def make_folder(directory: pathlib.Path, count: int) -> int:
    """Writes `count` JPEGs in four sub-folders and returns their mean size in bytes."""
    rng = np.random.default_rng(0)
    total = 0
    for index in range(count):
        height, width = (300, 400) if index % 2 else (400, 300)
        coarse = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.float32)
        pixels = np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)
        path = directory / str(index % 4) / f"{index:05d}.jpg"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path, quality=90)
        total += path.stat().st_size
    return total // count


def rate(batches, batch_size: int, seconds: float) -> float:
    """Images per second, after a few batches to warm up."""
    iterator = iter(batches)
    for _ in range(3):
        next(iterator)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        next(iterator)
        done += 1
    return done * batch_size / (time.perf_counter() - start)


def fully_decoded(source, batch_size: int, size: int, geometry):
    """What the pipeline of a folder would be if it decoded whole images: the same views from all the pixels."""
    import tensorflow as tf

    from tfcontrastive.augment import ops, row_seeds
    from tfcontrastive.data.images import decode

    paths = tf.constant(source.paths("train"))

    def example(index):
        image = decode(tf.io.read_file(paths[index % len(paths)]), 3)
        seeds = row_seeds(0, index, tf.constant([0]), 2)[0]
        scale, ratio = (geometry.min_area, geometry.max_area), (geometry.min_ratio, geometry.max_ratio)
        boxes = ops.sample_crop_boxes(seeds, tf.shape(image)[0], tf.shape(image)[1], scale, ratio)
        crops = [tf.image.crop_to_bounding_box(image, *tf.unstack(boxes[v])) for v in range(2)]
        views = tf.stack([tf.image.resize(crop, [size, size], "bicubic") for crop in crops])
        return tf.clip_by_value(ops.flip(views / 255.0, ops.sample_flips(seeds, geometry.flip)), 0.0, 1.0)

    examples = tf.data.Dataset.counter().map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return examples.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def measure(options) -> None:
    from tfcontrastive import augment, data

    geometry = augment.policy("simclr").geometry

    def batches(source, batch_size, size):
        return data.train_batches(
            source, "train", batch_size=batch_size, image_size=size, geometry=geometry, seed=0
        )

    def report(what, images_per_second):
        print(f"{what:58s} {images_per_second:9,.0f} images/s {2 * images_per_second:9,.0f} views/s", flush=True)

    print(f"{options.cores} core(s), two views an image")
    embedded = data.load("embedded")
    report("embedded, 28 -> 32 px, in memory, batch 256", rate(batches(embedded, 256, 32), 256, options.seconds))
    color = np.random.default_rng(0).integers(0, 256, (10000, 32, 32, 3), dtype=np.uint8)
    color = data.ArraySource({"train": (color, None)})
    report("32 px RGB, in memory, batch 256", rate(batches(color, 256, 32), 256, options.seconds))
    streamed = data.load("embedded", cache=False)
    what = "embedded, 28 -> 32 px, decoded as needed, batch 256"
    report(what, rate(batches(streamed, 256, 32), 256, options.seconds))
    with tempfile.TemporaryDirectory() as directory:
        size = make_folder(pathlib.Path(directory), options.images)
        folder = data.load(f"folder:{directory}", cache=False)
        start = time.perf_counter()
        folder.check(os.path.join(directory, "bad_files.txt"))
        checked = options.images / (time.perf_counter() - start)
        print(f"folder of {options.images} JPEGs, 400 px, {size / 1e3:.0f} kB each; checked at {checked:,.0f} images/s")
        report("folder -> 224 px, crops decoded, batch 64", rate(batches(folder, 64, 224), 64, options.seconds))
        whole = fully_decoded(folder, 64, 224, geometry)
        report("folder -> 224 px, whole images decoded, batch 64", rate(whole, 64, options.seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=5, help="time of each measurement")
    parser.add_argument("--images", type=int, default=512, help="JPEGs in the folder")
    parser.add_argument("--cores", type=int, default=1, help="cores to use")
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.sched_setaffinity(0, set(list(os.sched_getaffinity(0))[: options.cores]))  # before TensorFlow counts them
    measure(options)


if __name__ == "__main__":
    main()
