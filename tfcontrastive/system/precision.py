"""Which precision a run computes in: what was asked for, or what this device multiplies fastest."""

from __future__ import annotations

import dataclasses
import functools
import time
from typing import Any

import tensorflow as tf
from absl import logging

from tfcontrastive import distribute

_SMALL, _LARGE = (8, 8, 32), (8, 16, 64)  # images, height and width, channels
_FOR_GPU = (256, 32, 128)
_AMPERE = (8, 0)  # the compute capability from which on NVIDIA's GPUs multiply bfloat16
_WORTH = 0.85  # of float32's time: what bfloat16 must at least save, being less exact


@dataclasses.dataclass(frozen=True)
class Precision:
    """A precision of activations (float32, bfloat16 or float16), and in a few words why it was chosen."""

    name: str
    reason: str


def resolve(mixed_precision: str) -> Precision:
    """What `--mixed_precision` means on this device.

    Args:
        mixed_precision: float32, bfloat16, float16, or auto: bfloat16 where the device multiplies it natively.

    Examples:
        >>> resolve("float32").name
        'float32'
    """
    return fastest() if mixed_precision == "auto" else Precision(mixed_precision, "as asked for")


def resolved(config: Any, strategy: tf.distribute.Strategy, stored: str | None = None) -> Any:
    """The config of a run with its precision settled, the same on all workers; says which it is, and why.

    Args:
        config: of a run, with `loop.mixed_precision`.
        strategy: of the run.
        stored: the precision that the run began with, which a resumed one keeps; None for a new run.
    """
    if config.loop.mixed_precision != "auto":
        return config
    if stored is not None:
        choice = Precision(stored, "as this run began")
    elif isinstance(strategy, tf.distribute.TPUStrategy):
        choice = Precision("bfloat16", "which TPUs multiply natively")
    else:
        choice = fastest()
        if not distribute.agree(strategy, int(choice.name == "bfloat16")):
            choice = Precision("float32", "since not every worker multiplies bfloat16 natively")
    logging.info("Precision: %s, %s.", choice.name, choice.reason)
    return with_precision(config, choice.name)


def with_precision(config: Any, name: str) -> Any:
    """The config of a run with another `loop.mixed_precision`."""
    return dataclasses.replace(config, loop=dataclasses.replace(config.loop, mixed_precision=name))


@functools.lru_cache(maxsize=1)
def fastest() -> Precision:
    """bfloat16 or float32: an NVIDIA GPU says what it has; else by a measurement of convolutions of a fraction of a second.

    Convolutions of that length would measure how fast a GPU starts its kernels.
    """
    capability = _compute_capability()
    if capability is not None:
        if capability >= _AMPERE:
            return Precision("bfloat16", "which this GPU multiplies natively")
        told = ".".join(map(str, capability))
        return Precision("float32", f"since a GPU of compute capability {told} has no units for bfloat16")
    for shape in (_SMALL, _LARGE):  # where bfloat16 is emulated, the large one alone would take seconds
        try:
            ratio = _time_ratio(shape)
        except tf.errors.OpError:
            return Precision("float32", "since this device has no convolution in bfloat16")
        if ratio > 2:
            break
    if ratio > _WORTH:
        return Precision(
            "float32", f"since a bfloat16 convolution takes {ratio:.1f} times as long as one in float32 here"
        )
    return Precision("bfloat16", f"in which a convolution takes {ratio:.2f} of float32's time here")


def _compute_capability() -> tuple[int, int] | None:
    """Of this machine's first GPU, where it has one and its maker tells."""
    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("compute_capability") if gpus else None


@functools.lru_cache
def training_flops(name: str) -> float:
    """Operations a second of convolutions and their gradients in a precision, about, by a measurement of a moment."""
    shape = images, size, channels = _FOR_GPU if tf.config.list_physical_devices("GPU") else _LARGE
    step = _step(tf.float32 if name == "float32" else tf.as_dtype(name), *shape)
    step().numpy()  # compiles
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        step().numpy()
        seconds.append(time.perf_counter() - start)
    return 2 * 3 * 2 * 9.0 * images * size**2 * channels**2 / min(seconds)


def _time_ratio(shape: tuple[int, int, int], rounds: int = 5) -> float:
    """The time of bfloat16 over that of float32: the shortest of several, taken in turns, since machines are busy."""
    steps = {dtype: _step(dtype, *shape) for dtype in (tf.float32, tf.bfloat16)}
    seconds: dict[tf.DType, list[float]] = {dtype: [] for dtype in steps}
    for step in steps.values():
        step().numpy()  # compiles
    for _ in range(rounds):
        for dtype, step in steps.items():
            start = time.perf_counter()
            step().numpy()
            seconds[dtype].append(time.perf_counter() - start)
    return min(seconds[tf.bfloat16]) / min(seconds[tf.float32])


def _step(dtype: tf.DType, images: int, size: int, channels: int) -> tf.types.experimental.PolymorphicFunction:
    inputs = tf.cast(tf.random.stateless_uniform([images, size, size, channels], [0, 0]), dtype)
    kernel = tf.cast(tf.random.stateless_normal([3, 3, channels, channels], [0, 1], stddev=0.05), dtype)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel])
            outputs = tf.nn.conv2d(tf.nn.relu(tf.nn.conv2d(inputs, kernel, 1, "SAME")), kernel, 1, "SAME")
            total = tf.reduce_mean(outputs)
        return tf.add_n([tf.reduce_sum(tf.cast(g, tf.float32)) for g in tape.gradient(total, [inputs, kernel])])

    return step
