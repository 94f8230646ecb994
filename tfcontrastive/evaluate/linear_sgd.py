"""Linear classification of frozen features by SGD, as SimCLR and MoCo report it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import augment, data, distribute
from tfcontrastive.config import InputError
from tfcontrastive.data.pipeline import shuffled_indices
from tfcontrastive.data.untuned import untuned
from tfcontrastive.evaluate.checks import check_classes, checked_features, checked_labels, checked_splits
from tfcontrastive.evaluate.evaluator import default_image_size, held_out_split
from tfcontrastive.evaluate.features import FeatureExtractor
from tfcontrastive.evaluate.metrics import accuracies


@dataclasses.dataclass(frozen=True)
class SGDRecipe:
    """How a linear classifier is trained.

    Attributes:
        learning_rate: for a batch of 256; scaled linearly with the batch.
        batch_size: images a step, over all replicas.
        epochs: of training.
        nesterov: momentum as Nesterov's.
        milestones: parts of the run after which the learning rate falls to a tenth; None: a cosine decay to 0.
        initial_deviation: of the first weights, drawn from N(0, deviation); the bias starts at 0.
        momentum: of SGD.
    """

    learning_rate: float
    batch_size: int
    epochs: int
    nesterov: bool
    milestones: tuple[float, ...] | None
    initial_deviation: float = 0.01
    momentum: float = 0.9


RECIPES = {
    # https://arxiv.org/abs/2002.05709, appendices B.5 and B.6: no weight decay, no warm-up.
    "simclr": SGDRecipe(0.1, batch_size=4096, epochs=90, nesterov=True, milestones=None),
    # https://arxiv.org/abs/1911.05722, section 4.1, and main_lincls.py: no weight decay; a tenth at epochs 60 and 80.
    "moco": SGDRecipe(30.0, batch_size=256, epochs=100, nesterov=False, milestones=(0.6, 0.8)),
}


class _Classifier(keras.Model):
    """W x + b on what a frozen function makes of the inputs; only W and b are trained."""

    def __init__(
        self, features: Callable[[tf.Tensor], tf.Tensor], width: int, num_classes: int, deviation: float, seed
    ):
        super().__init__()
        # In a closure, where Keras does not look for weights to train.
        self._features = lambda inputs: tf.stop_gradient(tf.cast(features(inputs), tf.float32))
        start = keras.initializers.RandomNormal(stddev=deviation, seed=seed)
        self.logits = keras.layers.Dense(num_classes, kernel_initializer=start, dtype="float32", name="logits")
        self.logits.build((None, width))
        self.built = True

    def train_step(self, batch):
        inputs, labels = batch
        features = self._features(inputs)
        with tf.GradientTape() as tape:
            rows = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(labels, 0), self.logits(features))
            loss = tf.reduce_sum(rows * distribute.row_weights(labels >= 0))
            share = loss / distribute.replica_count()  # the optimizer sums over replicas
        weights = self.logits.trainable_variables
        self.optimizer.apply(tape.gradient(share, weights), weights)
        return {"loss": distribute.as_log(loss)}

    def _maybe_symbolic_build(self, iterator=None, data_batch=None) -> None:
        return  # built already; Keras' own symbolic build runs the encoder once more


def linear_sgd(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    features: np.ndarray,
    labels: np.ndarray,
    *,
    num_classes: int,
    recipe: SGDRecipe,
    seed: int = 0,
) -> dict[str, float]:
    """The accuracy of a linear classifier trained by SGD on features that were taken once, without augmentation.

    It minimises mean_i CE(W x_i + b, y_i); the last weights are tested.

    Args:
        train_features: `[N, F]` float.
        train_labels: `[N]` integers in `[0, num_classes)`.
        features: `[M, F]` float, of the test examples.
        labels: `[M]` integers; only classes that `train_labels` holds.
        num_classes: C.
        recipe: one of `RECIPES`, or another.
        seed: of the first weights and the order.

    Returns:
        `linear_top1`, `linear_top5`, `linear_mean_per_class`, `linear_top1_low`, `linear_top1_high`.

    Raises:
        InputError: for features that are not finite, labels out of range, a loss that diverges.

    Examples:
        >>> train, labels = np.eye(4, dtype=np.float32), [0, 1, 2, 3]
        >>> linear_sgd(train, labels, train, labels, num_classes=4, recipe=RECIPES["simclr"])
        {'linear_top1': ..., ...}
    """
    train_features, train_labels, features, labels = checked_splits(
        train_features, train_labels, features, labels, num_classes
    )
    batch_size, steps = _lengths(recipe, len(train_features))
    with tf.device("CPU:0"):
        rows, row_labels = tf.constant(train_features), tf.constant(train_labels.astype(np.int32))

    def batch(step):
        index = shuffled_indices(step * batch_size, batch_size, len(train_features), seed)
        return tf.gather(rows, index), tf.gather(row_labels, index)

    batches = untuned(tf.data.Dataset.counter()).map(batch, num_parallel_calls=tf.data.AUTOTUNE).prefetch(2)
    logits = _train(
        lambda inputs: inputs, batches, train_features.shape[1], num_classes, recipe, batch_size, steps, seed
    )
    return accuracies("linear", logits(features), labels)


def linear_sgd_on_images(
    encoder: Callable[..., tf.Tensor],
    source: data.Source,
    *,
    recipe: SGDRecipe,
    train_split: str = "train",
    eval_split: str | None = None,
    eval_batch_size: int = 256,
    image_size: int | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """`linear_sgd` with the published augmentation: random crops (area 8% to all) and flips, new at each step.

    The encoder runs at each step, in inference mode. The test sees the central crops.

    Args:
        encoder: `[B, H, W, C]` in [0, 1] -> `[B, F]`.
        source: labelled images.
        recipe, seed: as in `linear_sgd`; the seed is also that of the crops.
        train_split, eval_split, eval_batch_size, image_size: as in `labelled_features`.
    """
    if source.num_classes is None:
        raise InputError(f"`source` must be labelled to be evaluated. Received: {source.name} without labels.")
    eval_split = eval_split or held_out_split(source)
    size = image_size or default_image_size(encoder, source, eval_split)
    test = data.eval_batches(
        source, eval_split, batch_size=eval_batch_size, image_size=size, preprocessing=data.Preprocessing.of(encoder)
    )
    features, labels = FeatureExtractor(encoder)(test)  # first: what does not fit is refused before the long part
    features = checked_features("features", features)
    labels = checked_labels("labels", labels, len(features), source.num_classes)
    held = source.arrays(train_split)
    if held is not None:
        check_classes(held[1], labels)
    batch_size, steps = _lengths(recipe, source.num_examples(train_split))
    batches = data.train_batches(
        source,
        train_split,
        batch_size=batch_size,
        image_size=size,
        geometry=augment.policy("crop").geometry,
        num_views=1,
        seed=seed,
    ).map(lambda batch: (batch["views"][0], batch["label"]))

    def frozen(images):
        return encoder(images, training=False)

    logits = _train(frozen, batches, features.shape[1], source.num_classes, recipe, batch_size, steps, seed)
    return accuracies("linear", logits(features), labels)


def _lengths(recipe: SGDRecipe, count: int) -> tuple[int, int]:
    """Batch size and steps for so many training examples."""
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    batch_size = min(recipe.batch_size, count) // replicas * replicas
    if batch_size < 1:
        raise InputError(f"`train_split` must hold an image for each of {replicas} replicas. Received: {count}.")
    if batch_size < recipe.batch_size:
        logging.info("linear: batches of %d, as there are %d training images.", batch_size, count)
    return batch_size, max(1, count * recipe.epochs // batch_size)


def _train(frozen, batches, width, num_classes, recipe, batch_size, steps, seed) -> Callable[[np.ndarray], np.ndarray]:
    """Trains W and b, and returns the function from features to logits."""
    peak = recipe.learning_rate * batch_size / 256
    if recipe.milestones is None:
        schedule = keras.optimizers.schedules.CosineDecay(peak, steps)
    else:
        at = [round(steps * part) for part in recipe.milestones]
        schedule = keras.optimizers.schedules.PiecewiseConstantDecay(at, [peak / 10**i for i in range(len(at) + 1)])
    with tf.distribute.get_strategy().scope():
        model = _Classifier(frozen, width, num_classes, recipe.initial_deviation, seed)
        model.compile(
            keras.optimizers.SGD(schedule, momentum=recipe.momentum, nesterov=recipe.nesterov), jit_compile=False
        )
        model.optimizer.build(model.logits.trainable_variables)  # here, not on a replica
    model.fit(batches, epochs=1, steps_per_epoch=steps, shuffle=False, verbose=0)
    kernel, bias = (keras.ops.convert_to_numpy(weights) for weights in model.logits.trainable_variables)
    if not np.isfinite(kernel).all():
        raise InputError(
            "the linear classifier diverged: give a smaller `linear_learning_rate`. "
            f"Received: {recipe.learning_rate:g}."
        )
    return lambda features: features @ kernel + bias
