"""Contrastive self-supervised learning for TensorFlow and Keras.

Names are imported on first use, so that the command line's help does not wait for TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfcontrastive.system import onednn

if TYPE_CHECKING:  # what `__getattr__` finds, for programs that read types
    from tfcontrastive import augment as augment
    from tfcontrastive import callbacks as callbacks
    from tfcontrastive import config as config
    from tfcontrastive import data as data
    from tfcontrastive import distribute as distribute
    from tfcontrastive import encoders as encoders
    from tfcontrastive import evaluate as evaluate
    from tfcontrastive import export as export
    from tfcontrastive import hub as hub
    from tfcontrastive import losses as losses
    from tfcontrastive import methods as methods
    from tfcontrastive import optimizers as optimizers
    from tfcontrastive import pretrained as pretrained
    from tfcontrastive import protocols as protocols
    from tfcontrastive import report as report
    from tfcontrastive import towers as towers
    from tfcontrastive.config import AugmentConfig as AugmentConfig
    from tfcontrastive.config import DataConfig as DataConfig
    from tfcontrastive.config import EncoderConfig as EncoderConfig
    from tfcontrastive.config import InputError as InputError
    from tfcontrastive.config import LoopConfig as LoopConfig
    from tfcontrastive.config import OptimizerConfig as OptimizerConfig
    from tfcontrastive.config import RunConfig as RunConfig
    from tfcontrastive.config import TrainConfig as TrainConfig
    from tfcontrastive.config.distill_features import FeatureDistillConfig as FeatureDistillConfig
    from tfcontrastive.config.finetune import DistillConfig as DistillConfig
    from tfcontrastive.config.finetune import FinetuneConfig as FinetuneConfig
    from tfcontrastive.downstream.distill import distill as distill
    from tfcontrastive.downstream.finetune import finetune as finetune
    from tfcontrastive.downstream.teacher import Teacher as Teacher
    from tfcontrastive.encoders import ResNet as ResNet
    from tfcontrastive.encoders import ViT as ViT
    from tfcontrastive.export.embed import embed_files
    from tfcontrastive.export.search import nearest
    from tfcontrastive.fitting.adapt_result import AdaptResult as AdaptResult
    from tfcontrastive.fitting.adapting import adapt as adapt
    from tfcontrastive.fitting.result import FitResult as FitResult
    from tfcontrastive.fitting.stages import fit as fit
    from tfcontrastive.methods import METHODS as METHODS
    from tfcontrastive.methods import ContrastiveModel as ContrastiveModel
    from tfcontrastive.methods import StepOutput as StepOutput
    from tfcontrastive.methods import build as build
    from tfcontrastive.models.classifier import Classifier as Classifier
    from tfcontrastive.optimizers import LARS as LARS
    from tfcontrastive.pretrained.trained import Trained as Trained
    from tfcontrastive.pretrained.trained import load as load
    from tfcontrastive.pretrained.trained import load_trained as load_trained
    from tfcontrastive.runs.pretrain import train as train
    from tfcontrastive.towers import TwoTower as TwoTower
    from tfcontrastive.towers import TwoTowerConfig as TwoTowerConfig

    embed, search = embed_files, nearest

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
    "TwoTower": "towers",
    "TwoTowerConfig": "towers",
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
    "augment", "callbacks", "config", "data", "distribute", "encoders", "evaluate", "export", "hub", "losses", "methods",
    "optimizers", "pretrained", "protocols", "report", "towers",
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
