"""The base of the protocols that fine-tune."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from typing import Any

import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.config import (
    AugmentConfig,
    DataConfig,
    InputError,
    OptimizerConfig,
    RunConfig,
    differences,
)
from tfcontrastive.config.protocols.base import TuningSettings
from tfcontrastive.downstream.finetune import FinetuneConfig, finetune
from tfcontrastive.evaluate.evaluator import default_image_size, held_out_split
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.system.precision import with_precision


@dataclasses.dataclass(frozen=True)
class TuningEvaluator(TuningSettings):
    """How the encoder is fine-tuned. The defaults are SimCLRv2's for ImageNet: LARS at 0.005 * sqrt(batch), no warm-up, no
    weight decay, crop and flip (arXiv 2006.10029, section 4.1).

    Every fine-tuning is a run in a directory of its own, which tells its settings, its labels and its curves, and from
    which a stopped evaluation goes on.
    """

    def accuracies(
        self,
        trained: Trained,
        source: data.Source,
        name: str,
        *,
        fraction: float | None = None,
        weights: bool = True,
        **changes: Any,
    ) -> dict[str, float]:
        """The accuracies `<name>_top1`, ... of one fine-tuning.

        Args:
            trained: the encoder; it is left as it is.
            source: labelled images.
            name: of the run and of the values.
            fraction: of the labels, equally many of each class; None takes all.
            weights: False trains the same network from scratch.
            **changes: of `train_epochs`, `train_steps`, `optimizer`, `learning_rate`, `weight_decay`, ...
        """
        config = self.config(trained, source, name, fraction=fraction, **changes)
        metrics = finetune(config, source=source, start=trained, weights=weights).metrics
        return {f"{name}_{key.removeprefix('eval_')}": value for key, value in metrics.items()}

    def config(
        self, trained: Trained, source: data.Source, name: str, *, fraction: float | None = None, **changes: Any
    ) -> FinetuneConfig:
        """The config of one fine-tuning; see `accuracies`."""
        eval_split = self.eval_split or held_out_split(source)
        size = self.image_size or default_image_size(trained, source, eval_split)
        rate = {
            key: getattr(self, key) for key in ("optimizer", "learning_rate", "learning_rate_scaling", "weight_decay")
        }
        rate |= {key: changes.pop(key) for key in tuple(changes) if key in rate}
        split = changes.pop("train_split", self.train_split)
        config = FinetuneConfig(
            checkpoint=f"{trained.name}, weights {trained.fingerprint()}",  # who it is; the weights are at hand
            encoder=None,
            ft_proj_selector=self.ft_proj_selector,
            label_fraction=fraction,
            data=DataConfig(dataset=source.name, train_split=split, eval_split=eval_split, image_size=size),
            augmentation=AugmentConfig(augmentation="crop", crop_min_area=self.crop_min_area),
            optimizer=OptimizerConfig(**rate, warmup_epochs=0.0),
            loop=RunConfig(
                model_dir=os.path.join(self.work_dir or tempfile.mkdtemp(), f"{name}_seed{self.seed}"),
                train_batch_size=self.batch_size(source, split, fraction),
                eval_batch_size=self.eval_batch_size,
                mixed_precision=self.mixed_precision,
                seed=self.seed,
                keep_checkpoint_max=1,
                **changes,
            ),
        )
        return dataclasses.replace(config, loop=dataclasses.replace(config.loop, model_dir=own_directory(config)))

    def batch_size(self, source: data.Source, split: str, fraction: float | None) -> int:
        """The batch, at most the images there are, a multiple of the replicas."""
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        count = source.num_examples(split)
        if fraction is not None:
            count = len(data.balanced_rows(data.labels_of(source, split), fraction, self.seed))
        return max(min(self.train_batch_size, count) // replicas, 1) * replicas


def own_directory(config: FinetuneConfig) -> str:
    """The first of `model_dir`, `model_dir.1`, ... that no run of other settings, or of another encoder, lies in."""
    path, number = config.loop.model_dir, 0
    while os.path.exists(ModelDir(path).config) and not _is_run_of(ModelDir(path).read_config(), config):
        number += 1
        path = f"{config.loop.model_dir}.{number}"
    return path


def _is_run_of(stored: dict, config: FinetuneConfig) -> bool:
    """Whether a stored run has these settings; a precision that is left open is any."""
    if config.loop.mixed_precision == "auto":
        config = with_precision(config, stored["loop"]["mixed_precision"])
    return not differences(stored, config)


def numbers(name: str, text: str) -> list[float]:
    """Numbers with commas between them.

    Raises:
        InputError: other text.
    """
    try:
        return [float(word) for word in text.split(",")]
    except ValueError as error:
        raise InputError(f"`{name}` must be numbers with commas between them. Received: {name}={text!r}.") from error


def fractions_of(text: str) -> list[float]:
    """Fractions of the labels, in (0, 1], with commas between them.

    Raises:
        InputError: other text.
    """
    fractions = numbers("fractions", text)
    if not all(0 < fraction <= 1 for fraction in fractions) or len(set(fractions)) != len(fractions):
        raise InputError(f"`fractions` must be different numbers in (0, 1]. Received: fractions={text!r}.")
    return fractions


def percent(fraction: float) -> str:
    """A fraction in a value's name: 0.01 -> `1pct`.

    Examples:
        >>> percent(0.1), percent(0.005)
        ('10pct', '0.5pct')
    """
    return f"{100 * fraction:g}pct"
