"""Where the time of a training step on a GPU goes: its parts alone, in milliseconds.

    python benchmarks/step_pieces.py [--image_size 224] [--batch 128] [--precision bfloat16]

SimCLR with a ResNet-50, as `train_step.py` builds it: the input pipeline with nothing trained on it, the part of the
views that runs on the device with XLA and without, the update alone (LARS, with its check of the gradient's norm),
and the whole compiled step on one batch of crops again and again. Means of ten after two.
"""

import argparse
import time

import train_step
from machine import machine


def milliseconds(call, times: int = 10) -> float:
    """Of one call, which waits for its result."""
    for _ in range(2):
        call()
    began = time.perf_counter()
    for _ in range(times):
        call()
    return 1000 * (time.perf_counter() - began) / times


def views_per_second(batches, views: int, times: int = 12) -> float:
    """Of an input pipeline that nobody waits for."""
    next(batches)
    began = time.perf_counter()
    for _ in range(times):
        next(batches)
    return times * views / (time.perf_counter() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image_size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=128, help="images per step; each gives two views")
    parser.add_argument("--precision", choices=["float32", "bfloat16", "float16"], default="bfloat16")
    parser.add_argument("--depth", type=int, default=50)
    parser.add_argument("--width", type=float, default=1.0)
    options = parser.parse_args()
    print(machine())

    import tensorflow as tf

    import tfcontrastive

    model = tfcontrastive.SimCLR(
        train_step.network(options), tfcontrastive.SimCLRConfig(num_proj_layers=2), num_classes=10
    )
    model.compile(optimizer=tfcontrastive.LARS(0.1), jit_compile=True)
    crops = train_step.crops(options, model)
    print(f"input pipeline alone          {views_per_second(iter(crops), 2 * options.batch):8.0f} views/s")
    batch = next(iter(crops))

    def views(data):
        return tf.add_n([tf.reduce_sum(view) for view in model.make_views(data)[0]])

    for name, compiled in (("XLA", True), ("no XLA", False)):
        made = tf.function(views, jit_compile=compiled)
        print(f"views on the device, {name:8s} {milliseconds(lambda made=made: float(made(batch))):8.1f} ms")
    gradients = [tf.fill(variable.shape, 1e-4) for variable in model.trainable_variables]
    update = tf.function(model.update_weights, jit_compile=True)
    print(f"update alone, XLA             {milliseconds(lambda: bool(update(gradients))):8.1f} ms")
    model.make_train_function()
    again = iter(tf.data.Dataset.from_tensors(batch).cache().repeat())
    print(f"whole step, XLA               {milliseconds(lambda: float(model.train_function(again)['loss'])):8.1f} ms")
    if tf.config.list_physical_devices("GPU"):
        peak = tf.config.experimental.get_memory_info("GPU:0")["peak"]
        print(f"most memory at a time         {peak / 1e9:8.2f} GB")


if __name__ == "__main__":
    main()
