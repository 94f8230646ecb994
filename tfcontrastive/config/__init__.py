"""Checked, frozen configuration: the one place where a value's rule is written down. No TensorFlow is needed to read it."""

import warnings
from typing import Any

from tfcontrastive.config.base import BaseConfig, ClusterError, InputError, setting, unknown, value_types
from tfcontrastive.config.fields import clash, differences, flat_fields, from_nested, nested, replace_flat, settings
from tfcontrastive.config.pretrain import (
    OPTIMIZERS,
    POLICY_NAMES,
    AugmentConfig,
    DataConfig,
    Defaults,
    DeviceConfig,
    EncoderConfig,
    LoopConfig,
    OptimizerConfig,
    RunConfig,
    RunSettings,
    TrainConfig,
)

__all__ = [
    "OPTIMIZERS",
    "POLICY_NAMES",
    "AugmentConfig",
    "BaseConfig",
    "ClusterError",
    "DataConfig",
    "Defaults",
    "DeviceConfig",
    "EncoderConfig",
    "InputError",
    "LoopConfig",
    "OptimizerConfig",
    "RunConfig",
    "RunSettings",
    "TrainConfig",
    "clash",
    "differences",
    "flat_fields",
    "from_nested",
    "nested",
    "replace_flat",
    "setting",
    "settings",
    "unknown",
    "value_types",
]

_FORMER: dict[str, Any] = {"Checked": BaseConfig, "option": setting}  # in files of methods that were written for 0.1


def __getattr__(name: str) -> Any:
    if name in _FORMER:
        now = _FORMER[name].__name__
        warnings.warn(f"tfcontrastive.config.{name} is {now} now; 0.4 will not know the old name.", FutureWarning, 2)
        return _FORMER[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
