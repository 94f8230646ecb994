"""`tfcontrastive distill`: a student learns from a teacher's answers on unlabelled images."""

from __future__ import annotations

from collections.abc import Sequence

from tfcontrastive.commands.classifier import run_classifier

TITLE = """tfcontrastive distill: train a student on what a teacher says of images without labels.

Example: tfcontrastive distill --teacher=runs/classes --resnet_depth=18 --dataset=folder:photos --output_dir=runs/student
Without flags of an encoder the student has the teacher's architecture (self-distillation; the paper: --temperature=0.1)."""


def run(words: Sequence[str]) -> int:
    """Parses the words and distils."""
    from tfcontrastive.distill import DistillConfig, distill, evaluate_distilled_run

    return run_classifier(words, DistillConfig(), title=TITLE, train=distill, evaluate=evaluate_distilled_run)
