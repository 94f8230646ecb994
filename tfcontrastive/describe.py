"""What a run would be, told before it starts: settings, sizes, steps, learning rates and memory."""

from __future__ import annotations

import dataclasses

import numpy as np

from tfcontrastive import methods
from tfcontrastive.builders import build_model
from tfcontrastive.config import TrainConfig
from tfcontrastive.cost import estimate
from tfcontrastive.plan import Plan
from tfcontrastive.train import load_source, make_plan, make_strategy, settled


def describe(config: TrainConfig) -> str:
    """The text of `--dry_run`: the run is built, so that what cannot work fails here, and nothing is written."""
    strategy = make_strategy(config)
    source = load_source(config)
    plan = make_plan(config, source)
    config = settled(config, strategy, plan, first_gammas=not config.loop.checkpoint)
    with strategy.scope():
        model = build_model(config, source, plan)
    replicas = strategy.num_replicas_in_sync
    return "\n".join(
        [
            *_settings(config),
            "",
            f"data            {source.name}: {plan.num_examples:,} training images, {source.channels} channels, "
            + (f"{source.num_classes} classes" if source.num_classes else "no labels (no probe, no kNN)"),
            f"replicas        {replicas} of {config.loop.train_batch_size // replicas} images each",
            *_parameters(model),
            *_schedule(plan),
            *_memory(model, config, replicas),
        ]
    )


def _settings(config: TrainConfig) -> list[str]:
    lines = [f"[{config.method}]"] + [f"  {name}={value}" for name, value in _values(config.method_config)]
    for group in ("data", "augmentation", "encoder", "optimizer", "loop"):
        lines.append(f"[{group}]")
        lines += [f"  {name}={value}" for name, value in _values(getattr(config, group)) if value is not None]
    return lines


def _values(config) -> list[tuple[str, object]]:
    return [(field.name, getattr(config, field.name)) for field in dataclasses.fields(config)]


def _parameters(model: methods.ContrastiveModel) -> list[str]:
    encoder = _count(model.encoder.trainable_variables)
    every = _count(model.trainable_variables)
    return [
        f"parameters      encoder {encoder:,}  heads {every - encoder:,}  trainable in all {every:,}",
        f"features        {model.num_features}",
    ]


def _schedule(plan: Plan) -> list[str]:
    steps = sorted({0, plan.warmup_steps // 2, plan.warmup_steps, plan.steps // 2, plan.steps})
    rates = "  ".join(f"{step}: {float(plan.schedule(step)):.6g}" for step in steps)
    return [
        f"steps           {plan.steps:,} ({plan.epoch_steps:,} an epoch), warm-up {plan.warmup_steps:,}, "
        f"a checkpoint every {plan.checkpoint_steps:,}",
        f"learning rate   {rates}",
    ]


def _memory(model: methods.ContrastiveModel, config: TrainConfig, replicas: int) -> list[str]:
    costs = estimate(model, config, replicas)
    parts = ", ".join(f"{name} {size / 1e9:.2f}" for name, size in costs.memory.items())
    return [f"memory          about {costs.total_memory / 1e9:.2f} GB a replica: {parts}"]


def _count(variables) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)
