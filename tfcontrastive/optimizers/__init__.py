"""Optimizers and schedules: only what Keras lacks."""

from tfcontrastive.optimizers.build import NAMES, build
from tfcontrastive.optimizers.lars import LARS, lars_update
from tfcontrastive.optimizers.layer_rates import LayerwiseAdam
from tfcontrastive.optimizers.loss_scale import LossScale
from tfcontrastive.optimizers.muon import Muon, orthogonalized
from tfcontrastive.optimizers.schedules import (
    cosine_ramp,
    ema_momentum,
    learning_rate_schedule,
    linear_ramp,
    scaled_learning_rate,
    train_steps,
    warmup_steps,
)
from tfcontrastive.optimizers.weight_decay import Adam, AdamW, Lamb, Momentum

__all__ = [
    "LARS",
    "NAMES",
    "Adam",
    "AdamW",
    "Lamb",
    "LayerwiseAdam",
    "LossScale",
    "Momentum",
    "Muon",
    "build",
    "cosine_ramp",
    "ema_momentum",
    "lars_update",
    "learning_rate_schedule",
    "linear_ramp",
    "orthogonalized",
    "scaled_learning_rate",
    "train_steps",
    "warmup_steps",
]
