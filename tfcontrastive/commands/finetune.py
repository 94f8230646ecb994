"""`tfcontrastive finetune`: a trained encoder and labels become a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfcontrastive.commands.classifier import run_classifier
from tfcontrastive.config import RunConfig, TrainConfig
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.flags import spelled

TITLE = """tfcontrastive finetune: train a classifier from an encoder and labels.

Example: tfcontrastive finetune --checkpoint=runs/photos --dataset=folder:labelled --image_size=96 --output_dir=runs/classes
Without --checkpoint and --saved_model it trains from scratch: the supervised baseline."""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and fine-tunes."""
    return run_classifier(
        argv,
        FinetuneConfig(),
        title=TITLE,
        train=train,
        metrics_of=metrics_of,
        describe=describe,
        command=spelled("finetune", argv),
    )


def run_as_train(argv: Sequence[str], pretraining: TrainConfig, given: set[str]) -> int:
    """`tfcontrastive train --train_mode=finetune`, with google-research/simclr's defaults and all of its flags."""
    base = FinetuneConfig(
        ft_proj_selector=0, optimizer=pretraining.optimizer, loop=RunConfig(), defaults=pretraining.defaults
    )
    return run_classifier(
        argv,
        base,
        title=TITLE,
        train=train,
        metrics_of=metrics_of,
        describe=describe,
        ignored=pretraining,
        given=given,
        command=spelled("train", argv),
    )


def train(config: FinetuneConfig, **how: Any) -> Any:
    """`finetune`, which is imported only now."""
    from tfcontrastive.downstream.finetune import finetune

    return finetune(config, **how)


def metrics_of(config: FinetuneConfig) -> dict[str, float]:
    """The metrics of the newest checkpoint of a fine-tuning, imported only now."""
    from tfcontrastive.downstream.finetune import finetuning

    return finetuning(config).evaluate()


def describe(config: FinetuneConfig, **how: bool) -> str:
    """`describe_finetuning`, which is imported only now."""
    from tfcontrastive.commands.describe import describe_finetuning

    return describe_finetuning(config, **how)
