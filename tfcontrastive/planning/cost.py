"""What a step costs: memory of a replica, bytes between replicas, and time at best, reckoned without running it.

Memory counts what the backward pass must find again:

    weights + optimizer + gradients + queue + activations + blocks of the loss

Time is that of a roofline, max(flops / peak, bytes moved in memory / bandwidth), and then bytes between replicas / link.
No launch, no input and no imbalance is in it: a well-fed step comes near it, and none is faster.
"""

from __future__ import annotations

import collections
import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import keras
import numpy as np
import tensorflow as tf
from absl import logging
from keras.src.backend.common import global_state

from tfcontrastive import methods, optimizers
from tfcontrastive.config import InputError, RunSettings, TrainConfig
from tfcontrastive.losses import row_softmax
from tfcontrastive.optimizers.muon import orthogonalizing_flops
from tfcontrastive.system.hardware import Hardware, machine_memory
from tfcontrastive.system.precision import resolve

FLOAT = 4


# Copies of each weight that an optimizer keeps.
SLOTS = {"lars": 1, "momentum": 1, "adam": 2, "adamw": 2, "lamb": 2, "muon": 2}
assert set(SLOTS) == set(optimizers.NAMES)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Bytes of one replica, bytes that it receives in a step, and its floating-point operations in a step."""

    parameters: int
    memory: dict[str, float]
    received: dict[str, float]
    flops: float
    traffic: float

    @property
    def total_memory(self) -> float:
        return sum(self.memory.values())

    def seconds(self, hardware: Hardware, *, half: bool) -> dict[str, float]:
        """The least time of a step's parts; compute and memory overlap, the network comes after."""
        return {
            "compute": self.flops / (hardware.half if half else hardware.float32),
            "memory": self.traffic / hardware.bandwidth,
            "network": sum(self.received.values()) / hardware.link,
        }

    def step_seconds(self, hardware: Hardware, *, half: bool) -> float:
        """The least time of a step."""
        parts = self.seconds(hardware, half=half)
        return max(parts["compute"], parts["memory"]) + parts["network"]


def estimate(model: methods.ContrastiveModel, config: TrainConfig, replicas: int) -> Cost:
    """The cost of a run's step, from the shapes of a model's layers; its weights need no values.

    Raises:
        InputError: the batch does not divide over the replicas.
    """
    loop = config.loop
    if loop.train_batch_size % replicas:
        raise InputError(
            f"`train_batch_size` must be a multiple of the number of replicas, {replicas}. "
            f"Received: train_batch_size={loop.train_batch_size}."
        )
    images, sides = loop.train_batch_size // replicas, model.policy.sides(config.data.image_size)
    views, channels = len(sides), model.encoder.input_shape[-1]
    encoded = model.encoded_sides(model.config, sides)
    if model.encoded_views:
        encoded = (encoded * model.encoded_views)[: model.encoded_views]
    width = FLOAT if resolve(loop.mixed_precision).name == "float32" else 2

    layers = {side: list(_layers(model.encoder, (side, side, channels))) for side in {*sides, *encoded}}
    held = []  # of a pass over the views of each size
    for side, count in collections.Counter(encoded).items():
        kept = sum(layer.kept for layer in layers[side])
        largest = max((layer.size for layer in layers[side]), default=0)
        rows = (loop.micro_batch_size or images * count) // loop.gradient_accumulation_steps
        held.append(width * rows * (kept + 2 * largest))
    heads = [layer for layer in _heads(model) if getattr(layer, "kernel", None) is not None]
    wide = sum(layer.kernel.shape[-1] for layer in heads)

    matrix = row_softmax.DENSE_LIMIT, row_softmax.TILE
    logits = int(np.prod(model.logits_shape(images, replicas)))
    block = logits if logits <= matrix[0] else matrix[1]
    every, trainable = _count(model.variables), _count(model.trainable_variables)
    queues = model.queues
    pixels = images * sum(side**2 for side in sides) * channels * FLOAT

    # Forward, and twice that backward; micro batches go forward once more; targets go forward only.
    passes = collections.Counter(encoded * (4 if loop.micro_batch_size else 3))
    if len(_encoders(model)) > 1:
        passes.update(model.target_sides(sides, encoded))
    flops = outputs = 0.0
    for side, count in passes.items():
        per_image = sum(layer.flops for layer in layers[side]) + 2 * _count([layer.kernel for layer in heads])
        flops += images * count * per_image
        outputs += images * count * sum(layer.size for layer in layers[side])
    embedding = model.embedding_dim
    alone = replicas == 1
    gathered = 2 * FLOAT * images * views * (replicas - 1) * embedding if logits else 0
    return Cost(
        parameters=trainable,
        memory={
            "weights": FLOAT * (every - _count(queues)),
            "optimizer": FLOAT * SLOTS[config.optimizer.optimizer] * trainable,
            "gradients": FLOAT * trainable,
            "queue": FLOAT * _count(queues),
            "images": 2 * pixels,
            "activations": (max if loop.micro_batch_size else sum)(held) + 3 * FLOAT * images * views * wide,
            "loss": 3 * FLOAT * block,
        },
        received={
            "embeddings": 0 if alone else gathered,
            "gradients": 0 if alone else 2 * FLOAT * trainable * (replicas - 1) / replicas,
        },
        flops=flops + 6 * logits * embedding + _optimizer_flops(config, model.trainable_variables),
        traffic=2 * width * outputs + 6 * FLOAT * trainable,
    )


def estimate_classifier(model: Trainable, config: RunSettings, replicas: int) -> Cost:
    """The cost of a step of fine-tuning or distillation, without the teacher's: one view of each image.

    Args:
        model: the classifier, or the student of features; its trunk's weights need no values.
        config: a `FinetuneConfig`, `DistillConfig` or `FeatureDistillConfig`.
        replicas: that share a batch.
    """
    loop, trunk = config.loop, model.trunk
    images = loop.train_batch_size // replicas
    shape = (config.data.image_size, config.data.image_size, trunk.input_shape[-1])
    width = FLOAT if loop.mixed_precision == "float32" else 2
    layers = list(_layers(trunk, shape))
    kept = 0 if model.frozen else sum(layer.kept for layer in layers)
    largest = max((layer.size for layer in layers), default=0)
    every, learned = _count(model.variables), _count(model.learned())
    return Cost(
        parameters=learned,
        memory={
            "weights": FLOAT * every,
            "optimizer": FLOAT * SLOTS[config.optimizer.optimizer] * learned,
            "gradients": FLOAT * learned,
            "images": 2 * images * int(np.prod(shape)) * FLOAT,
            "activations": width * images * (kept + 2 * largest),
        },
        received={"gradients": 0 if replicas == 1 else 2 * FLOAT * learned * (replicas - 1) / replicas},
        flops=sum(layer.flops for layer in layers) * images * (1 if model.frozen else 3)
        + _optimizer_flops(config, model.learned()),
        traffic=6 * width * images * sum(layer.size for layer in layers) + 6 * FLOAT * learned,
    )


def _optimizer_flops(config: TrainConfig | RunSettings, variables: Sequence[keras.Variable]) -> float:
    """Of an optimizer that does more than a few operations a weight."""
    return orthogonalizing_flops(variables) if config.optimizer.optimizer == "muon" else 0.0


class Trainable(Protocol):
    """A network that is trained with a head on it."""

    trunk: keras.Model
    frozen: bool

    @property
    def variables(self) -> Sequence[keras.Variable]: ...

    def learned(self) -> list[keras.Variable]:
        """The weights that training moves."""


def forward_flops(network: keras.Model, image_size: int) -> float:
    """Floating-point operations of one image, of height and width `image_size`, on its way through a network."""
    shape = (image_size, image_size, network.input_shape[-1])
    return sum(layer.flops for layer in _layers(network, shape))


_FAR_BEYOND = 3.0
"""Times the machine's memory, above which no swapping and no error of the estimate lets a run end."""


def check_memory(cost: Cost, replicas: int, available: float | None = None, *, refuse: bool = True) -> None:
    """Warns of a run that is larger than this machine's memory, and refuses one that is far beyond.

    Args:
        cost: of a replica.
        replicas: that share the machine.
        available: bytes; default: the machine's where its CPU does the work, else nothing is checked.
        refuse: False only warns, as where the run is not to be on this machine.

    Raises:
        InputError: it is more than three times as large.
    """
    others = [*tf.config.list_physical_devices("GPU"), *tf.config.list_logical_devices("TPU")]
    if available is None and not others and "TF_CONFIG" not in os.environ:
        available = machine_memory()
    needed = cost.total_memory * replicas
    if available is None or needed <= available:
        return
    largest = max(cost.memory, key=cost.memory.get)
    text = (
        f"about {needed / 1e9:.1f} GB, most of it {largest}, and this machine has {available / 1e9:.1f} GB. Smaller values "
        "of --train_batch_size, --image_size, --resnet_depth or --width_multiplier shrink it; so do --micro_batch_size in "
        "pre-training (a part of the batch at a time) and --mixed_precision=bfloat16."
    )
    if refuse and needed > _FAR_BEYOND * available:
        raise InputError(f"the run must fit into memory. Received: a run of {text}")
    logging.warning("The run may not fit into memory: it needs %s", text)


def shapes_only(build: Callable[[], keras.Model]) -> keras.Model:
    """A model whose weights have shapes but no values: what a plan of a network larger than this machine needs."""
    waiting = global_state.get_global_attribute("uninitialized_variables", [], set_to_default=True)
    before = len(waiting)
    try:
        with keras.StatelessScope(initialize_variables=False):
            return build()
    finally:
        del waiting[before:]  # else Keras gives them values at the end of the next such scope, whoever opens it


@dataclasses.dataclass(frozen=True)
class _Layer:
    """Of one image: numbers in a layer's output, those of them that the backward pass reads, and operations."""

    size: int
    kept: int
    flops: float


# Their gradients need their input, which is another layer's output, or nothing at all.
_NOT_KEPT = ("BatchNorm", "BatchNormalization", "Add", "Identity", "InputLayer", "Flatten", "Reshape")


def _layers(network: keras.Model, shape: tuple[int, ...]) -> Iterator[_Layer]:
    if not hasattr(network, "operations"):  # not a functional model: as large as its weights
        yield _Layer(_count(network.variables), _count(network.variables), 2.0 * _count(network.variables))
        return
    if None in network.input_shape[1:]:
        network = shapes_only(lambda: keras.models.clone_model(network, input_tensors=keras.Input(shape)))
    for operation in network.operations:
        for node in operation._inbound_nodes[-1:]:
            out = node.outputs[0].shape[1:]
            if isinstance(operation, keras.Model):
                yield from _layers(operation, node.arguments.keras_tensors[0].shape[1:])
                continue
            out = [length or 1 for length in out]  # None: a length that only a call tells
            size = int(np.prod(out))
            kernels = [v for v in getattr(operation, "weights", []) if len(v.shape) > 1]
            kept = 0 if type(operation).__name__ in _NOT_KEPT else size
            yield _Layer(size, kept, 2.0 * _count(kernels) * int(np.prod(out[:-1])))
            yield from _attention(operation, out)
            if getattr(getattr(operation, "activation", None), "__name__", "") == "gelu":
                yield _Layer(0, 2 * size, 0.0)  # beside input and output: x / sqrt(2) and 1 + erf


def _attention(layer: keras.Operation, out: Sequence[int]) -> Iterator[_Layer]:
    """The products of tokens with tokens in a layer, which have no weights: q k' and softmax(q k') v."""
    for part in (
        layer._flatten_layers() if isinstance(layer, keras.Layer) else ()
    ):  # else a bare operation, such as x[:, 0]
        if type(part).__name__ not in ("SelfAttention", "MultiHeadAttention", "GroupedQueryAttention"):
            continue
        tokens, heads = int(np.prod(out[:-1])), part.num_heads
        width = heads * part.key_dim if hasattr(part, "key_dim") else out[-1]
        matrix = heads * tokens**2
        # Kept: q, k, v and the mixture of the values; the softmax, which is float32 under every policy.
        yield _Layer(matrix, 4 * tokens * width + matrix, 2 * 2.0 * tokens**2 * width)


def _heads(model: methods.ContrastiveModel) -> Iterator[keras.Layer]:
    inside = {id(layer) for network in _encoders(model) for layer in network._flatten_layers()}
    return (layer for layer in model._flatten_layers() if id(layer) not in inside)


def _encoders(model: methods.ContrastiveModel) -> list[keras.Layer]:
    return [model.encoder, *(target for target, online in model.targets if online is model.encoder)]


def _count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
