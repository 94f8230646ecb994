"""Classifier: an encoder with a linear layer, trained on labels or on a teacher."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import keras
import tensorflow as tf

from tfcontrastive import augment, distribute
from tfcontrastive.config import InputError
from tfcontrastive.config.finetune import BLOCKS
from tfcontrastive.models.replicated_model import ReplicatedModel
from tfcontrastive.models.variable_paths import variable_paths

_LAST = 4


class Objective(Protocol):
    """What a classifier is trained for: (images, logits, batch) -> scalar loss, `{name: scalar}` for each of `names`."""

    @property
    def names(self) -> Sequence[str]: ...

    def __call__(
        self, images: tf.Tensor, logits: tf.Tensor, batch: dict[str, tf.Tensor]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]: ...


class Classifier(ReplicatedModel):
    """Images `[B, H, W, C]` in [0, 1] -> logits `[B, num_classes]`.

    `fit` takes batches of `tfcontrastive.data.train_batches` with one view.

    Args:
        trunk: images -> features `[B, F]`; trained in place.
        num_classes: C.
        objective: of the training; None for one that is only called.
        view: what happens to the cropped images before the network sees them.
        zero_init: the logits start as zeros, rather than from small random weights.
        fine_tune_after_block: train only what follows this group of the encoder's blocks, see `freeze`.
        ema_decay: where > 0, the average of the weights is kept too, and measured: `averaged`.

    Examples:
        >>> from tfcontrastive.models.objectives import CrossEntropy
        >>> model = Classifier(encoder, 10, CrossEntropy())
        >>> model.compile(optimizer=tfcontrastive.LARS(0.16))
        >>> source, geometry = tfcontrastive.data.load("embedded"), tfcontrastive.augment.Geometry()
        >>> batches = tfcontrastive.data.train_batches(
        ...     source, "train", batch_size=128, image_size=28, geometry=geometry, num_views=1, seed=0
        ... )
        >>> history = model.fit(batches, steps_per_epoch=30, epochs=30)
    """

    def __init__(
        self,
        trunk: keras.Model,
        num_classes: int,
        objective: Objective | None = None,
        *,
        view: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        zero_init: bool = False,
        fine_tune_after_block: int = -1,
        ema_decay: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.trunk = trunk
        self.input_spec = None
        self.objective = objective
        self.view = view or augment.View()
        self.head = keras.layers.Dense(
            num_classes,
            kernel_initializer="zeros" if zero_init else keras.initializers.RandomNormal(stddev=0.01),
            dtype="float32",
            name="head_supervised",  # the name that LARS knows
        )
        self.head.build((None, trunk.output_shape[-1]))
        freeze(trunk, fine_tune_after_block)
        self.frozen = fine_tune_after_block == _LAST
        self.ema_decay = ema_decay
        self.averages = self._make_averages() if ema_decay else []
        names = ("loss", *(objective.names if objective else ()))
        self.trackers = {name: keras.metrics.Mean(name) for name in names}
        self.built = True

    def learned(self) -> list[keras.Variable]:
        """The weights that training moves."""
        return [*self.trunk.trainable_variables, *self.head.trainable_variables]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.head(self.trunk(images, training=training and not self.frozen))

    def train_step(self, data: dict[str, Any]) -> dict[str, tf.Tensor]:
        """One step on this replica's share of the batch."""
        images = self.view(data["views"][0], data["seeds"][:, 0])
        with tf.GradientTape() as tape:
            loss, metrics = self.objective(images, self(images, training=True), data)
            total = loss
            if self.losses:
                total += tf.add_n([tf.cast(term, total.dtype) for term in self.losses])
            # Gradients are summed over replicas, and each loss is a mean over its own rows.
            total = self.optimizer.scale_loss(total / distribute.replica_count())
        finite = self.update_weights(tape.gradient(total, self.trainable_variables))
        self._follow()
        return self.track({"loss": loss, **metrics}, finite)

    def _make_averages(self) -> list[keras.Variable]:
        """A copy of each weight that training moves, named by the weight's path, under which a checkpoint holds it."""
        paths = {id(variable): path.replace("/", ".") for path, variable in variable_paths(self).items()}
        averages = []
        for weight in self.learned():
            first = keras.ops.convert_to_numpy(weight)
            name = f"average.{paths[id(weight)]}"
            averages.append(keras.Variable(first, trainable=False, dtype=weight.dtype, name=name))
        return averages

    def _follow(self) -> None:
        """average = d * average + (1 - d) * weight, with d = min(ema_decay, (1 + k) / (10 + k)) at step k, so that an
        average of few steps is not one of first weights (the rule of `tf.train.ExponentialMovingAverage`)."""
        if not self.averages:
            return
        step = tf.cast(self.optimizer.iterations, tf.float32)
        decay = tf.minimum(self.ema_decay, (1.0 + step) / (10.0 + step))
        means = [
            decay * tf.convert_to_tensor(average) + (1.0 - decay) * tf.convert_to_tensor(weight)
            for average, weight in zip(self.averages, self.learned(), strict=True)
        ]
        distribute.assign_all([average.value for average in self.averages], means)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the weights are their averages, where averages are kept."""
        weights = self.learned() if self.averages else []
        before = [keras.ops.convert_to_numpy(weight) for weight in weights]
        for weight, average in zip(weights, self.averages, strict=True):
            weight.assign(keras.ops.convert_to_numpy(average))
        try:
            yield
        finally:
            for weight, value in zip(weights, before, strict=True):
                weight.assign(value)


def freeze(trunk: keras.Model, fine_tune_after_block: int) -> None:
    """Leaves only the layers after a group of blocks trainable; the batch norm of the others keeps its statistics.

    Args:
        trunk: one of this package's ResNets, alone or with layers of a projection head on top; for -1 and 4 any network.
        fine_tune_after_block: -1 trains everything, 0 what follows the stem, 1 to 3 what follows that group of blocks, 4
            nothing of the trunk: the linear head alone.

    Raises:
        InputError: another number, or a network without groups of blocks.
    """
    if fine_tune_after_block not in BLOCKS:
        raise InputError(f"`fine_tune_after_block` must be -1 to 4. Received: {fine_tune_after_block}.")
    if fine_tune_after_block == _LAST:
        trunk.trainable = False
    elif fine_tune_after_block >= 0:
        layers = [inner for layer in trunk.layers for inner in getattr(layer, "layers", [layer])]
        numbered = [(layer, _block(layer.name)) for layer in layers]
        if not any(block for _, block in numbered):
            raise InputError(
                "`fine_tune_after_block` must be -1 (everything) or 4 (the linear head) for a network that is not one of "
                f"this package's ResNets. Received: {fine_tune_after_block} for {trunk.name}."
            )
        for layer, block in numbered:
            if block is not None and block <= fine_tune_after_block:
                layer.trainable = False


def _block(name: str) -> int | None:
    """The group of blocks that a ResNet's layer is part of: 0 is the stem, None what follows them all."""
    group = re.match(r"block_group(\d)", name)
    return int(group[1]) if group else 0 if name.startswith("initial") else None
