"""`tfcontrastive distill`: a student learns from a teacher's answers on unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfcontrastive.commands.classifier import run_classifier
from tfcontrastive.config.finetune import DistillConfig
from tfcontrastive.flags import spelled

TITLE = """tfcontrastive distill: train a student on what a teacher says of images without labels.

Example: tfcontrastive distill --teacher=runs/classes --resnet_depth=18 --dataset=folder:photos --output_dir=runs/student
Without flags of an encoder the student has the teacher's architecture (self-distillation; the paper: --temperature=0.1)."""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and distils."""
    return run_classifier(
        argv,
        DistillConfig(),
        title=TITLE,
        train=train,
        metrics_of=metrics_of,
        describe=describe,
        command=spelled("distill", argv),
    )


def train(config: DistillConfig, **how: Any) -> Any:
    """`distill`, which is imported only now."""
    from tfcontrastive.downstream.distill import distill

    return distill(config, **how)


def metrics_of(config: DistillConfig) -> dict[str, float]:
    """The metrics of the newest checkpoint of a distillation, imported only now."""
    from tfcontrastive.downstream.distill import distillation

    return distillation(config).evaluate()


def describe(config: DistillConfig, **how: bool) -> str:
    """`describe_distillation`, which is imported only now."""
    from tfcontrastive.commands.describe import describe_distillation

    return describe_distillation(config, **how)
