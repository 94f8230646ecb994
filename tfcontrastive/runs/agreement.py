"""What all workers of a run must have alike before its first step: settings, versions and data."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

import tfcontrastive
from tfcontrastive import data, distribute
from tfcontrastive.config import BaseConfig, RunSettings
from tfcontrastive.config.fields import is_config
from tfcontrastive.runs.schedule import Plan

_ALIKE = ("checkpoint_epochs", "checkpoint_steps", "restore_step", "steps_per_execution", "deterministic", "checkpoint",
          "num_virtual_replicas")  # fmt: skip
"""What a resumed run may change, but not one worker alone: when all save together, from what, and how they compute."""


def shared_settings(config: BaseConfig) -> dict[str, Any]:
    """What all workers of a run must have alike: the settings that decide what is learned and when, and the versions."""

    def settings(part: BaseConfig) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for field in dataclasses.fields(part):
            value = getattr(part, field.name)
            if is_config(value):
                inner = settings(value)
                found |= {f"{field.name}.{name}" if name in found else name: setting for name, setting in inner.items()}
            elif not field.metadata.get("may_change") or field.name in _ALIKE:
                found[field.name] = value
        return found

    versions = {"tfcontrastive": tfcontrastive.__version__, "tensorflow": tf.__version__, "keras": keras.__version__}
    return {**settings(config), **{f"version of {name}": version for name, version in versions.items()}}


def check_same_data(config: RunSettings, source: data.Source, plan: Plan, strategy: tf.distribute.Strategy) -> None:
    """All workers of a run must have found the same images, by their numbers."""
    facts = {
        "images": plan.num_examples,
        "classes": source.num_classes,
        "channels": source.channels,
        "steps": plan.steps,
    }
    distribute.check_alike(strategy, facts, "data", config.loop.cluster_timeout)
