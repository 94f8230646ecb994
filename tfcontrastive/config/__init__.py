"""Checked, frozen configuration: the one place where a value's rule is written down. No TensorFlow is needed to read it."""

from tfcontrastive.config.checked import Checked, ClusterError, InputError, option, unknown, value_types
from tfcontrastive.config.fields import clash, differences, from_nested, leaves, nested, replace_leaves, settings
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
    "Checked",
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
    "from_nested",
    "leaves",
    "nested",
    "option",
    "replace_leaves",
    "settings",
    "unknown",
    "value_types",
]
