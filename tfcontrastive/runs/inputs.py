"""What a run begins with: its devices, its images, its numbers, and what it holds out."""

from __future__ import annotations

import tensorflow as tf

from tfcontrastive import data, distribute
from tfcontrastive.config import InputError, RunSettings
from tfcontrastive.data.held_out import HELD_OUT
from tfcontrastive.runs.agreement import shared_settings
from tfcontrastive.runs.schedule import Plan, check_batch, check_length

HOLD_OUT = "--train_split=train[:90%%] --eval_split=train[90%%:]"  # both: else the held-out images are learned from


def make_strategy(config: RunSettings) -> tf.distribute.Strategy:
    """The strategy of a run; the global batch must divide over its replicas."""
    loop, strategy = config.loop, distribute.strategy_of(config.loop)
    distribute.check_alike(strategy, shared_settings(config), "flags and version", loop.cluster_timeout)
    check_batch(config, strategy.num_replicas_in_sync)
    if loop.steps_per_execution > 1 and not distribute.loops(strategy):
        raise InputError(
            "`steps_per_execution` must be 1 on several replicas, but for TPUs: Keras' loop of steps cannot hold their "
            f"collectives. Received: steps_per_execution={loop.steps_per_execution} on "
            f"{strategy.num_replicas_in_sync} replicas."
        )
    return strategy


def load_source(config: RunSettings, *, fetch: bool = True) -> data.Source:
    """The run's images; `fetch=False` downloads nothing, see `data.load`."""
    wanted = config.data
    return data.load(
        wanted.dataset,
        data_dir=wanted.data_dir,
        cache=wanted.cache_dataset,
        background_color=wanted.background_color,
        intensity_range=wanted.intensity_range,
        max_bad_files=wanted.max_bad_files,
        labels=wanted.labels,
        held_out=wanted.held_out,
        fetch=fetch,
    )


def make_plan(config: RunSettings, source: data.Source) -> Plan:
    """The run's numbers; they must fit one another, and a held-out split that is named must exist."""
    eval_split(config, source)
    plan = Plan.make(config, source.num_examples(config.data.train_split))
    check_length(config, plan)
    return plan


def eval_split(config: RunSettings, source: data.Source) -> str | None:
    """The held-out split: the one asked for, else `held_out`, `validation`, `valid`, `val`, `dev` or `test`, else none."""
    wanted, unlabelled = config.data.eval_split, source.unlabelled_splits
    if wanted is None:
        usual = (HELD_OUT, "validation", "valid", "val", "dev", "test")
        return next((name for name in usual if name in source.splits and name not in unlabelled), None)
    source.num_examples(wanted)
    if wanted.partition("[")[0] in unlabelled:
        raise InputError(
            f"`eval_split` must have labels, as the rest of {source.name}. Received: eval_split={wanted!r}."
        )
    return wanted
