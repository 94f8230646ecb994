"""What labels add: the trained encoder goes on with them, or the same network learns from them alone."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras
import numpy as np

from tfcontrastive import data, storage
from tfcontrastive.config import AugmentConfig, OptimizerConfig, RunConfig
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.downstream.finetune import Finetuned, finetune
from tfcontrastive.encoders.whitening import heads_of
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.runs.pretrain import TrainResult

_FEWEST_STEPS = 30
TUNING_EPOCHS = 60
"""Of fine-tuning, at most."""

TUNING_STEP = 0.6
"""What a step of fine-tuning costs, of as many views as one of pre-training: its views are crops alone."""


def supervised(result: TrainResult, **how: Any) -> Finetuned:
    """The same network trained from scratch with all labels, on half as many views: labels are learned from sooner.

    Args:
        result: of the pre-training.
        **how: callbacks and say, as `finetune` takes them.
    """
    views, batch = len(result.model.policy.views), result.config.loop.train_batch_size
    optimizer = OptimizerConfig(
        optimizer="momentum",
        learning_rate=0.1 * 256 / (views * batch),  # 0.1, which is not to be scaled
        warmup_epochs=0.0,
        weight_decay=5e-4,
        decay_all_weights=True,
    )
    config = _config(result, "supervised", optimizer, batch=views * batch, steps=max(1, result.plan.steps // 2))
    config = dataclasses.replace(config, encoder=result.config.encoder)
    return finetune(config, source=result.source, title="supervised", **how)


def fine_tuned(result: TrainResult, seconds: float, *, kept: keras.Model | None = None, **how: Any) -> Finetuned:
    """The trained encoder with all labels, for as many steps as a time allows, at most 60 epochs.

    A fine-tuning that was stopped goes on to the end that it was given.

    Args:
        result: of the pre-training.
        seconds: that it may take.
        kept: the encoder that is tuned, where the trained one was not taken.
        **how: as in `supervised`.
    """
    config = result.config
    views = len(result.model.policy.views)
    labelled = int((data.labels_of(result.source, config.data.train_split) >= 0).sum())
    batch = max(2, min(views * config.loop.train_batch_size, labelled))
    directory = ModelDir(os.path.join(config.loop.model_dir, "fine_tuned"))
    stored = directory.stored()
    if stored is not None:
        steps = stored["loop"]["train_steps"]
    else:
        pace = result.seconds / max(result.plan.steps, 1) * batch / (views * config.loop.train_batch_size)
        most = max(_FEWEST_STEPS, round(TUNING_EPOCHS * labelled / batch))
        steps = int(np.clip(seconds / max(TUNING_STEP * pace, 1e-6), _FEWEST_STEPS, most))
    optimizer = OptimizerConfig(
        optimizer="momentum", learning_rate=0.03 * 256 / batch, warmup_epochs=0.0, weight_decay=1e-4
    )
    tuning = _config(result, "fine_tuned", optimizer, batch=batch, steps=steps)
    augmentation = AugmentConfig(
        augmentation="crop",
        crop_min_area=config.augmentation.crop_min_area,
        keep_orientation=config.augmentation.keep_orientation,
    )
    tuning = dataclasses.replace(tuning, encoder=None, augmentation=augmentation)
    return finetune(tuning, start=as_trained(result, kept), source=result.source, title="fine-tuning", **how)


def as_trained(result: TrainResult, kept: keras.Model | None = None) -> Trained:
    """The encoder of a pre-training, as other commands take it; where it was not taken, the one that was kept."""
    config, encoder = result.config, result.model.encoder
    if kept is not None:
        rule, size = data.Preprocessing.of_run(config.encoder, config.data), config.data.image_size
        name = f"what {config.loop.model_dir} started from"
        return Trained(kept, None, None, size, encoder.input_shape[-1], name, preprocessing=rule, config=config.encoder)
    projection_head, probe = heads_of(result.model)
    return Trained(
        encoder,
        projection_head,
        probe,
        config.data.image_size,
        encoder.input_shape[-1],
        f"{config.method}, step {result.plan.steps} of {config.loop.model_dir}",
        result.plan.steps,
        preprocessing=data.Preprocessing.of_run(config.encoder, config.data),
        config=config.encoder,
    )


def _config(result: TrainResult, name: str, optimizer: OptimizerConfig, *, batch: int, steps: int) -> FinetuneConfig:
    """A training with labels in a directory of its own in that of the pre-training."""
    loop = result.config.loop
    _hand_over(loop.model_dir, os.path.join(loop.model_dir, name))
    shared = {field.name: getattr(loop, field.name) for field in dataclasses.fields(RunConfig)}
    changes: dict[str, Any] = {"model_dir": os.path.join(loop.model_dir, name), "train_batch_size": batch}
    changes |= {"train_steps": steps, "restore_step": None}  # a step to go back to is one of the pre-training
    changes["checkpoint_steps"] = loop.checkpoint_steps or max(1, steps // 4)  # its epochs may be few steps
    return FinetuneConfig(data=result.config.data, optimizer=optimizer, loop=RunConfig(**{**shared, **changes}))


def _hand_over(directory: str, other: str) -> None:
    """What is known of the image files, so that they are not all decoded once more."""
    source, target = (os.path.join(one, "checked_files.json") for one in (directory, other))
    if storage.exists(source) and not storage.exists(target):
        storage.make_dirs(other)
        storage.write(target, storage.read_bytes(source))
