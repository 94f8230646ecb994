"""A supervised classifier on the same encoder and data: the baseline that labels buy."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from tfcontrastive import augment, data, optimizers
from tfcontrastive.callbacks import NanGuard, Progress
from tfcontrastive.config import AugmentConfig, InputError
from tfcontrastive.system.terminal import say


def train_supervised(
    encoder: keras.Model,
    source: data.Source,
    *,
    split: str = "train",
    batch_size: int,
    image_size: int,
    steps: int,
    learning_rate: float = 0.1,
    weight_decay: float = 5e-4,
    augmentation: AugmentConfig | None = None,
    seed: int = 0,
    say: Callable[[str], None] = say,
) -> keras.Model:
    """Trains encoder and linear classifier on labels: SGD with Nesterov momentum and a cosine decay.

    Args:
        encoder: images `[B, H, W, C]` -> features `[B, F]`; trained in place.
        source: labelled images.
        split, batch_size, image_size, steps, seed: of the training.
        learning_rate: at the start, for this batch size.
        weight_decay: on all weights, as a multiple of each weight added to its gradient.
        augmentation: of the one view of each image; default: the policy's crop and flip alone.
        say: takes the lines of progress where the output is not a terminal; default: they go to stderr.

    Returns:
        the classifier, images -> logits `[B, num_classes]`.

    Raises:
        InputError: the source has no labels.

    Examples:
        >>> classifier = train_supervised(encoder, data.load("embedded"), batch_size=256, image_size=28, steps=1000)
    """
    if source.num_classes is None:
        raise InputError(f"supervised training needs labels. Received: {source.name}, which has none.")
    policy = augment.policy_from_config(augmentation or AugmentConfig())
    batches = data.train_batches(
        source,
        split,
        batch_size=batch_size,
        image_size=image_size,
        geometry=policy.geometries[:1],
        seed=seed,
    ).map(_crop_and_label if augmentation is None else lambda batch: _view_and_label(policy, batch))
    logits = keras.layers.Dense(source.num_classes, dtype="float32", name="logits")(encoder.output)
    classifier = keras.Model(encoder.inputs, logits)
    classifier.compile(
        optimizer=optimizers.build(
            "momentum",
            learning_rate=optimizers.learning_rate_schedule(learning_rate, steps=steps, warmup_steps=0),
            momentum=0.9,
            weight_decay=weight_decay,
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    progress = Progress("supervised", first_step=0, last_step=steps, batch_size=batch_size, say=say)
    try:
        classifier.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[NanGuard(), progress])
    finally:
        progress.close()
    return classifier


def _crop_and_label(batch: dict) -> tuple[tf.Tensor, tf.Tensor]:
    return batch["views"][0], batch["label"]


def _view_and_label(policy: augment.Policy, batch: dict) -> tuple[tf.Tensor, tf.Tensor]:
    return policy.views[0](batch["views"][0], batch["seeds"][:, 0]), batch["label"]
