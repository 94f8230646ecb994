"""`tfcontrastive distill`: a student learns from a teacher's answers or features on unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.classifier import run_classifier
from tfcontrastive.config import InputError, unknown
from tfcontrastive.config.finetune import DistillConfig

FROM = ("logits", "features")
"""What of a teacher a student may learn from."""

TITLE = """tfcontrastive distill: train a student on what a teacher says of images without labels.

Example: tfcontrastive distill --teacher=runs/classes --resnet_depth=18 --dataset=folder:photos --output_dir=runs/student
Without flags of an encoder the student has the teacher's architecture (self-distillation; the paper: --temperature=0.1).
A teacher without classes, such as a foundation encoder: tfcontrastive distill --from=features --help."""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and distils."""
    learned_from = command_line.peek(command_line.expand(argv), "from", FROM[0])
    if learned_from not in FROM:
        raise InputError(f"`from` {unknown(learned_from, FROM)}")
    if learned_from == "features":
        from tfcontrastive.commands import distill_features

        return distill_features.run(argv)
    return run_classifier(
        argv,
        DistillConfig(),
        title=TITLE,
        train=train,
        metrics_of=metrics_of,
        describe=describe,
        command=command_line.spelled("distill", argv),
        own=from_flag(),
    )


def from_flag() -> flags.FlagValues:
    """The flag that chooses between the two kinds."""
    values = flags.FlagValues()
    text = "logits: of a teacher with classes, as SimCLRv2; features: of an encoder of any kind."
    flags.DEFINE_enum("from", FROM[0], FROM, text, values)
    return values


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
