"""Contrastive self-supervised learning for TensorFlow and Keras.

Names are imported on first use, so that the command line's help does not wait for TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

from tfcontrastive.system import onednn

onednn.turn_on()
onednn.warn_where_off()

__version__ = "0.2.0"

_NAMES = {
    "LARS": "optimizers",
    "Trained": "pretrained.trained",
    "load": "pretrained.trained",
    "load_trained": "pretrained.trained",
    "ResNet": "encoders",
    "ViT": "encoders",
    "AugmentConfig": "config",
    "DataConfig": "config",
    "EncoderConfig": "config",
    "InputError": "config",
    "LoopConfig": "config",
    "OptimizerConfig": "config",
    "RunConfig": "config",
    "Classifier": "models.classifier",
    "FinetuneConfig": "config.finetune",
    "DistillConfig": "config.finetune",
    "FeatureDistillConfig": "config.distill_features",
    "Teacher": "downstream.teacher",
    "embed": "export.embed:embed_files",
    "search": "export.search:nearest",
    "AdaptResult": "fitting.adapt_result",
    "FitResult": "fitting.result",
    "adapt": "fitting.adapting",
    "fit": "fitting.stages",
    "train": "runs.pretrain",
    "finetune": "downstream.finetune",
    "distill": "downstream.distill",
    "TrainConfig": "config",
}
_ROOMS = (
    "augment", "callbacks", "config", "data", "distribute", "encoders", "evaluate", "export", "losses", "methods",
    "optimizers", "pretrained", "protocols", "report",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        home, _, other = _NAMES[name].partition(":")
        return getattr(importlib.import_module(f"tfcontrastive.{home}"), other or name)
    if name in _ROOMS:
        return importlib.import_module(f"tfcontrastive.{name}")
    if name == "__all__":
        return __dir__()
    if not name.startswith("_"):
        methods = importlib.import_module("tfcontrastive.methods")
        if name in methods.NAMES:  # every method and its config, as they are found
            return getattr(methods, name)
    raise AttributeError(f"module 'tfcontrastive' has no attribute {name!r}")


def __dir__() -> list[str]:
    methods = importlib.import_module("tfcontrastive.methods")
    return ["__version__", *sorted([*_NAMES, *_ROOMS, *methods.NAMES])]
