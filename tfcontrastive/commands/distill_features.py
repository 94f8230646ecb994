"""`tfcontrastive distill --from=features`: a student learns what any encoder makes of images, without labels."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.distill import from_flag
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.commands.metrics import show_metrics
from tfcontrastive.commands.run_flags import run_flags, whose
from tfcontrastive.config import EncoderConfig, flat_fields, nested, replace_flat
from tfcontrastive.config.distill_features import FeatureDistillConfig

TITLE = """tfcontrastive distill --from=features: a small encoder learns what a large one makes of images without labels.

Example: tfcontrastive distill --from=features --teacher=dinov2_vits14_pretrain.pth --resnet_depth=18 \\
             --dataset=folder:photos --image_size=96 --output_dir=runs/student
The teacher is the directory of a run, an export or published weights. It sees a few crops of each image, once; its features
are kept on disk, and the command goes on where it was stopped."""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and distils."""
    command = command_line.spelled("distill", argv)
    given, argv = command_line.given(argv), command_line.expand(argv)
    base = FeatureDistillConfig()
    values = own_flags()
    command_line.define(dataclasses.replace(base, encoder=EncoderConfig()), values)
    flags.DEFINE_alias("output_dir", "model_dir", flag_values=values)
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(help_text(base, values))
        return 0
    command_line.parse(argv, values)
    show_own_messages()
    config = command_line.of_recipe(config_of(base, values), given)
    if values["dry_run"].value:
        from tfcontrastive.commands.describe import describe_feature_distillation

        print(describe_feature_distillation(config, **whose(values)))
        return 0
    from tfcontrastive.downstream.distill_features import distill_features, feature_distillation

    if values["mode"].value == "eval":
        show_metrics(feature_distillation(config).evaluate())
        return 0
    finish(distill_features(config, **whose(values)), command)
    return 0


def own_flags() -> flags.FlagValues:
    """The flags that belong to the command, not to the run's config."""
    values = run_flags("output_dir")
    values["from"] = from_flag()["from"]
    return values


def config_of(base: FeatureDistillConfig, values: flags.FlagValues) -> FeatureDistillConfig:
    """The config with what was given; no encoder where none of its flags was."""
    config = command_line.from_flags(dataclasses.replace(base, encoder=EncoderConfig()), values)
    asked = {name: values[name].value for name in flat_fields(EncoderConfig()) if values[name].present}
    return dataclasses.replace(config, encoder=replace_flat(EncoderConfig(), asked) if asked else None)


def help_text(base: FeatureDistillConfig, values: flags.FlagValues) -> str:
    """The flags of the command, by group."""
    groups: dict[str, Any] = {
        "Data": base.data, "Augmentation": base.augmentation, "Student": EncoderConfig(),
        "Optimizer": base.optimizer, "Run": base.loop,
    }  # fmt: skip
    own, inside = flags.FlagValues(), {name for group in groups.values() for name in flat_fields(group)}
    for name in flat_fields(base):
        if name not in inside:
            own[name] = values[name]
    return command_line.help_text(TITLE, {"What and how": own, **groups, "Command": own_flags()})


def finish(result: Any, command: str = "") -> None:
    """Writes the SavedModel and the report of a finished run, and shows what came out."""
    from tfcontrastive import distribute, export
    from tfcontrastive.callbacks.loggers import attach_page
    from tfcontrastive.commands.distill_page import write_page
    from tfcontrastive.runs.model_dir import ModelDir

    if not distribute.is_chief():
        return
    config, directory, teacher = result.config, ModelDir(result.config.loop.model_dir), result.prepared.teacher
    licensed = (
        {**teacher.facts, "family": f"learned from those of {teacher.facts.get('family')}"} if teacher.facts else None
    )
    path = export.save_once(
        result.encoder,
        directory.saved_model,
        image_size=config.data.image_size,
        preprocessing=result.preprocessing,
        card={
            "step": distribute.step_of(result.model),
            "recipe": nested(config, lasting=True),
            "metrics": result.metrics,
            "teacher": {"name": teacher.name, **result.prepared.cache.facts["teacher"]},
            "imported": licensed,
        },
    )
    attach_page(config.loop.log_to, directory.path, write_page(result, directory, path, command))
    show_metrics(result.metrics)
    print(f"SavedModel: {path}")
    print(f"Report: {os.path.join(directory.path, 'report.html')}")
