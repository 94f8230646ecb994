"""Views per second of the two-view SimCLR augmentation, on one core, from images in memory.

    python benchmarks/augmentation.py [--torch_python=PATH]

Everybody gets the same decoded uint8 images and makes two views of each: random crop, resize, flip, color jitter, gray
and blur (p .5), as float32 in [0, 1]. Nothing is decoded, nothing is normalised by mean and deviation.

    fused, exact     this package: whole batches of uint8, in one tf.function
    per image        TensorFlow's single-image ops in a tf.data map, one random number at a time, and one blur for the
                     batch, which is how google-research/simclr makes its views (written here from its description)
    lightly          its SimCLR transform on PIL images, one thread; needs a Python that has lightly (--torch_python)

The contestants take turns, all on one core; seconds are those of the processor, so that other work on the machine
counts little. The best and the median of the rounds are printed. Ratios are of best to best.
"""

from __future__ import annotations

import argparse
import collections
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from machine import machine

from tfcontrastive import augment

# (pixels of the source images, pixels of the views, images in a batch, jitter strength)
SETTINGS = ((32, 32, 256, 0.5), (256, 224, 32, 1.0))

BATCHES = 4  # in a round

LIGHTLY = """
import sys, time
import numpy as np, torch
from PIL import Image
from lightly.transforms import SimCLRTransform
torch.set_num_threads(1)
images = [Image.fromarray(image) for image in np.load(sys.argv[1])]
transform = SimCLRTransform(input_size=int(sys.argv[2]), cj_strength=float(sys.argv[3]), normalize=None)
for _ in sys.stdin:
    start = time.process_time()
    for _ in range(int(sys.argv[4])):
        torch.stack([view for image in images for view in transform(image)])
    print(time.process_time() - start, flush=True)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch_python", help="a Python interpreter that has lightly")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    print(machine())
    for source, size, batch, strength in SETTINGS:
        images = smooth_images(batch, source)
        print(f"\n{source} -> {size} pixels, batches of {batch}, one core, with blur")
        contestants = {
            "fused": ours(images, size, strength, "fused"),
            "exact": ours(images, size, strength, "exact"),
            "per image": per_image(images, size, strength),
        }
        if options.torch_python:
            contestants["lightly"] = lightly(options.torch_python, images, size, strength)
        report(race(contestants, 2 * batch * BATCHES, options.rounds))


def smooth_images(count: int, size: int) -> np.ndarray:
    """Random uint8 images `[count, size, size, 3]` with the low frequencies of photographs."""
    coarse = tf.random.stateless_uniform([count, 8, 8, 3], seed=[0, 1])
    return tf.cast(tf.clip_by_value(tf.image.resize(coarse, [size, size], "bicubic"), 0, 1) * 255, tf.uint8).numpy()


def ours(images: np.ndarray, size: int, strength: float, color_ops: str) -> Callable[[], float]:
    policy = augment.policy("simclr", strength=strength, color_ops=color_ops)

    @tf.function
    def two_views(images, step):
        seeds = augment.row_seeds(0, step, tf.range(len(images)), num_views=2)
        crops = [augment.random_view_geometry(images, seeds[:, i], policy.geometry, size) for i in range(2)]
        return [view(crop, seeds[:, i]) for i, (view, crop) in enumerate(zip(policy.views, crops, strict=True))]

    images = tf.constant(images)
    steps = iter(range(10**9))
    return lambda: seconds(lambda: [two_views(images, tf.constant(next(steps))) for _ in range(BATCHES)])


def per_image(images: np.ndarray, size: int, strength: float) -> Callable[[], float]:
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    batches = per_image_views(tf.data.Dataset.from_tensor_slices(images).repeat(BATCHES), size, strength, len(images))
    batches = batches.with_options(options)
    # From start to end, as a running iterator would go on working while the others are timed.
    return lambda: seconds(lambda: collections.deque(batches, maxlen=0))


def per_image_views(images: tf.data.Dataset, size: int, strength: float, batch: int) -> tf.data.Dataset:
    """Batches of two views, made image by image with TensorFlow's own ops, as google-research/simclr makes them."""

    def maybe(probability, op, image):
        return tf.cond(tf.random.uniform([]) < probability, lambda: op(image), lambda: image)

    def crop(image):
        begin, extent, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(image),
            tf.constant([[[0.0, 0.0, 1.0, 1.0]]]),
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            max_attempts=100,
        )
        return tf.image.resize(tf.slice(image, begin, extent), [size, size], "bicubic")

    def jitter(image):
        ops = (
            lambda x: x * tf.random.uniform([], 1 - 0.8 * strength, 1 + 0.8 * strength),
            lambda x: tf.image.random_contrast(x, 1 - 0.8 * strength, 1 + 0.8 * strength),
            lambda x: tf.image.random_saturation(x, 1 - 0.8 * strength, 1 + 0.8 * strength),
            lambda x: tf.image.random_hue(x, 0.2 * strength),
        )
        order = tf.random.shuffle(tf.range(4))
        for i in range(4):
            image = tf.switch_case(order[i], [lambda op=op, x=image: op(x) for op in ops])
            image = tf.clip_by_value(image, 0.0, 1.0)
        return image

    def view(image):
        image = tf.image.random_flip_left_right(crop(image))
        image = maybe(0.8, jitter, image)
        image = maybe(0.2, lambda x: tf.tile(tf.image.rgb_to_grayscale(x), [1, 1, 3]), image)
        return tf.clip_by_value(tf.ensure_shape(image, [size, size, 3]), 0.0, 1.0)

    def blur(batch):
        taps = tf.range(-(size // 20), size // 20 + 1, dtype=tf.float32)
        kernel = tf.nn.softmax(-(taps**2) / (2 * tf.random.uniform([], 0.1, 2.0) ** 2))
        kernel = tf.tile(kernel[:, None, None, None], [1, 1, 3, 1])
        blurred = tf.nn.depthwise_conv2d(batch, kernel, [1, 1, 1, 1], "SAME")
        blurred = tf.nn.depthwise_conv2d(blurred, tf.transpose(kernel, [1, 0, 2, 3]), [1, 1, 1, 1], "SAME")
        chosen = tf.cast(tf.random.uniform([tf.shape(batch)[0], 1, 1, 1]) < 0.5, tf.float32)
        return tf.clip_by_value(chosen * blurred + (1 - chosen) * batch, 0.0, 1.0)

    def two_views(image):
        image = tf.image.convert_image_dtype(image, tf.float32)
        return view(image), view(image)

    batches = images.map(two_views, num_parallel_calls=tf.data.AUTOTUNE).batch(batch)
    return batches.map(lambda first, second: (blur(first), blur(second)))


def lightly(python: str, images: np.ndarray, size: int, strength: float) -> Callable[[], float]:
    with tempfile.NamedTemporaryFile(suffix=".npy", delete=False) as file:
        np.save(file, images)
    process = subprocess.Popen(
        [python, "-c", LIGHTLY, file.name, str(size), str(strength), str(BATCHES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def one_round():
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            sys.exit(f"{python} cannot run lightly's transform.")
        return float(answer)

    return one_round


def seconds(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def race(contestants: dict[str, Callable[[], float]], views: int, rounds: int) -> dict[str, list[float]]:
    """Views per second of each contestant in each round, after one round of warm-up."""
    for contestant in contestants.values():
        contestant()
    rates = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            rates[name].append(views / contestant())
    return rates


def report(rates: dict[str, list[float]]) -> None:
    print(f"{'':12}{'best':>10}{'median':>10}   views per second")
    for name, rate in rates.items():
        print(f"{name:12}{max(rate):>10,.0f}{statistics.median(rate):>10,.0f}")
    for name in list(rates)[1:]:
        print(f"fused is {max(rates['fused']) / max(rates[name]):.1f} times {name}")


if __name__ == "__main__":
    main()
