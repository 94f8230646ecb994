"""A batch that the machine's memory holds."""

from __future__ import annotations

import dataclasses
import functools

import tensorflow as tf

from tfcontrastive import data, distribute
from tfcontrastive.config import TrainConfig
from tfcontrastive.fitting.choices import Choice, fits_memory
from tfcontrastive.planning.cost import estimate, shapes_only
from tfcontrastive.runs.builders import build_method
from tfcontrastive.runs.schedule import Plan, filled_in


def within_memory(
    config: TrainConfig, choices: list[Choice], source: data.Source, asked: frozenset[str]
) -> tuple[TrainConfig, list[Choice]]:
    """The config with a batch whose activations fit into a part of the machine's memory."""
    if "train_batch_size" in asked or tf.config.list_physical_devices("GPU"):
        return config, choices
    num_images, replicas = source.num_examples(config.data.train_split), distribute.strategy_of(config.loop)
    while True:
        settled, _ = filled_in(config, num_images, replicas=replicas.num_replicas_in_sync)
        plan = Plan.make(settled, num_images)
        model = shapes_only(functools.partial(build_method, settled, source.spec, plan))
        needed = estimate(model, settled, replicas.num_replicas_in_sync).total_memory
        batch = settled.loop.train_batch_size
        if fits_memory(needed) or batch <= 8:
            return config, choices
        config = dataclasses.replace(config, loop=dataclasses.replace(config.loop, train_batch_size=batch // 2))
        reason = f"a step of {batch} images would need {needed / 1e9:.1f} GB"
        choices = [Choice(one.name, batch // 2, reason) if one.name == "train_batch_size" else one for one in choices]
