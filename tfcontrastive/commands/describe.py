"""What a run would be, told before it starts: settings, sizes, steps, learning rates and memory.

Nothing is fetched or written, and no weights of a run's own are made: its network has shapes only. What a run refuses is
refused here, by the same checks.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from tfcontrastive import data
from tfcontrastive.config import BaseConfig, TrainConfig
from tfcontrastive.config.distill_features import FeatureDistillConfig
from tfcontrastive.config.finetune import DistillConfig, FinetuneConfig
from tfcontrastive.downstream.distill import distillation
from tfcontrastive.downstream.distill_features import feature_distillation
from tfcontrastive.downstream.finetune import finetuning
from tfcontrastive.encoders.rebuild import check_weights
from tfcontrastive.planning.cost import Cost, check_memory, estimate, forward_flops, shapes_only
from tfcontrastive.runs.builders import build_method, check_network, make_optimizer
from tfcontrastive.runs.inputs import load_source, make_plan, make_strategy
from tfcontrastive.runs.loop import Run
from tfcontrastive.runs.minutes import going_on
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.runs.pretrain import Start, images_of_run
from tfcontrastive.runs.schedule import Plan, check_batch, filled_in
from tfcontrastive.runs.settle import settled
from tfcontrastive.system.precision import resolved

_MANY = 1_281_167  # images of a data set that is not here, for what does not depend on their number


def describe(
    config: TrainConfig, *, start: Start | None = None, overwrite: bool = False, allow_config_change: bool = False
) -> str:
    """The text of `train --dry_run`; the arguments are those of `train`."""
    config = going_on(config, _stored(config, overwrite))
    strategy = make_strategy(config)
    replicas = strategy.num_replicas_in_sync
    source = images_of_run(load_source(config, fetch=False), start, _stored(config, overwrite))
    if source.missing:
        config, _ = filled_in(config, _MANY, replicas=replicas)
        check_batch(config, replicas)
        config = resolved(config, strategy)
        plan = Plan.make(config, _MANY)
    else:
        config = settled(config, source, strategy, stored=_stored(config, overwrite), first_gammas=start is None)
        plan = make_plan(config, source)
    model = shapes_only(lambda: build_method(config, source.spec, plan))
    make_optimizer(config.optimizer, config.loop, plan)
    if start is not None:
        check_network(config.encoder, start.config, start.name)
        check_weights(start.encoder, model.encoder, start.name)
    costs = estimate(model, config, replicas)
    check_memory(costs, replicas, refuse=not source.missing)  # without its images it is for another machine
    _check_directory(config, overwrite=overwrite, allow_config_change=allow_config_change)
    encoder, every = count_of(model.encoder.trainable_variables), costs.parameters
    return "\n".join(
        [
            *settings_lines(config),
            "",
            data_line(source, None if source.missing else plan),
            f"replicas        {replicas} of {config.loop.train_batch_size // replicas} images each",
            f"parameters      encoder {encoder:,}  heads {every - encoder:,}  trainable in all {every:,}",
            f"features        {model.num_features}",
            f"views           {_views(model.policy.sides(config.data.image_size))}",
            *_steps(config, None if source.missing else plan),
            memory_line(costs),
        ]
    )


def describe_finetuning(config: FinetuneConfig, *, overwrite: bool = False, allow_config_change: bool = False) -> str:
    """The text of `finetune --dry_run`; the arguments are those of `finetune`."""
    return _of_classifier(finetuning(config, dry=True), overwrite, allow_config_change)


def describe_distillation(config: DistillConfig, *, overwrite: bool = False, allow_config_change: bool = False) -> str:
    """The text of `distill --dry_run`; the arguments are those of `distill`."""
    return _of_classifier(distillation(config, dry=True), overwrite, allow_config_change)


def describe_feature_distillation(
    config: FeatureDistillConfig, *, overwrite: bool = False, allow_config_change: bool = False
) -> str:
    """The text of `distill --from=features --dry_run`; the arguments are those of `distill_features`."""
    run = feature_distillation(config, dry=True)
    text = _of_classifier(run, overwrite, allow_config_change)
    if run.source.missing:
        return text
    made = run.prepare(anew=overwrite)
    cache, teacher = made.cache, made.teacher
    shards, missing = -(-cache.images // cache.shard_images), len(cache.missing())
    lines = [
        f"teacher         {teacher.name}: {cache.width} features of {made.teacher_size} x {made.teacher_size} pixels",
        f"its features    {cache.images:,} images in {cache.views} views, {cache.bytes / 1e6:,.1f} MB in "
        f"{cache.directory}, {shards - missing} of {shards} shards are there",
    ]
    if "licence" in teacher.facts:
        lines.append(f"licence         {teacher.facts['licence']}, of the teacher's weights")
    size = made.config.data.image_size
    student = forward_flops(made.model.encoder, size)
    told = f"{student / 1e6:,.1f} million an image of {size} x {size} pixels"
    if isinstance(teacher.encoder, keras.Model):
        told += f", 1 / {forward_flops(teacher.encoder, made.teacher_size) / student:.1f} of the teacher's"
    return "\n".join([text, *lines, f"operations      {told}"])


def _of_classifier(run: Run, overwrite: bool, allow_config_change: bool) -> str:
    if run.source.missing:
        return "\n".join([*settings_lines(run.config), "", data_line(run.source, None)])
    made = run.prepare(anew=overwrite)
    _check_directory(made.config, overwrite=overwrite, allow_config_change=allow_config_change)
    replicas = run.strategy.num_replicas_in_sync
    network, learned = count_of(made.model.trunk.variables), count_of(made.model.learned())
    return "\n".join(
        [
            *settings_lines(made.config),
            "",
            data_line(made.source, made.plan),
            f"held out        {made.split or 'nothing: no accuracy'}",
            f"replicas        {replicas} of {made.config.loop.train_batch_size // replicas} images each",
            f"parameters      network {network:,}  trainable in all {learned:,}",
            *schedule_lines(made.plan),
            memory_line(made.cost),
        ]
    )


def _views(sides: Sequence[int]) -> str:
    return " and ".join(f"{count} of {side} x {side} pixels" for side, count in collections.Counter(sides).items())


def _stored(config: TrainConfig, overwrite: bool) -> dict[str, Any] | None:
    return ModelDir(config.loop.model_dir).stored() if config.loop.model_dir and not overwrite else None


def _check_directory(config: Any, **how: bool) -> None:
    if config.loop.model_dir is not None:
        ModelDir(config.loop.model_dir).check(config, **how)


def settings_lines(config: Any) -> list[str]:
    lines = []
    for field in dataclasses.fields(config):
        group = getattr(config, field.name)
        if isinstance(group, BaseConfig):
            lines.append(f"[{config.method if field.name == 'method_config' else field.name}]")
            lines += [f"  {name}={value}" for name, value in _values(group) if value is not None]
    own = [(name, value) for name, value in _values(config) if isinstance(value, (bool, int, float, str))]
    return [f"[{config.kind}]", *(f"  {name}={value}" for name, value in own), *lines]


def _values(config: BaseConfig) -> list[tuple[str, object]]:
    return [(field.name, getattr(config, field.name)) for field in dataclasses.fields(config)]


def data_line(source: data.Source, plan: Plan | None) -> str:
    images = f"{plan.num_examples:,} training images" if plan else source.missing
    classes = f"{source.num_classes} classes" if source.num_classes else "no labels (no probe, no kNN)"
    return f"data            {source.name}: {images}, {source.channels} channels, {classes}"


def _steps(config: TrainConfig, plan: Plan | None) -> list[str]:
    loop = config.loop
    if plan is None:
        return ["steps           not known before the images are here"]
    if loop.train_minutes and not loop.train_steps:
        return [f"steps           those of {loop.train_minutes:g} minutes: the pace is measured when the run begins"]
    return schedule_lines(plan)


def schedule_lines(plan: Plan) -> list[str]:
    steps = sorted({0, plan.warmup_steps // 2, plan.warmup_steps, plan.steps // 2, plan.steps})
    rates = "  ".join(f"{step}: {float(plan.schedule(step)):.6g}" for step in steps)
    return [
        f"steps           {plan.steps:,} ({plan.epoch_steps:,} an epoch), warm-up {plan.warmup_steps:,}, "
        f"a checkpoint every {plan.checkpoint_steps:,}",
        f"learning rate   {rates}",
    ]


def memory_line(costs: Cost) -> str:
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in costs.memory.items())
    return f"memory          about {costs.total_memory / 1e9:.2f} GB a replica: {parts}"


def count_of(variables: list[keras.Variable]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
