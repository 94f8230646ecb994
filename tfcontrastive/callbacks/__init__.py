"""Keras callbacks of a run: accuracy, checkpoints, summaries, monitor, evaluators, best state, progress, NaNs, signals."""

from tfcontrastive.callbacks.accuracy import Accuracy
from tfcontrastive.callbacks.checkpoints import Checkpoints
from tfcontrastive.callbacks.evaluate import Evaluate
from tfcontrastive.callbacks.interruption import Interruption
from tfcontrastive.callbacks.keep_best import KeepBest
from tfcontrastive.callbacks.loggers import RunLogger
from tfcontrastive.callbacks.monitor import Monitor
from tfcontrastive.callbacks.nan_guard import NanGuard
from tfcontrastive.callbacks.progress import Progress
from tfcontrastive.callbacks.summaries import Summaries

__all__ = [
    "Accuracy",
    "Checkpoints",
    "Evaluate",
    "Interruption",
    "KeepBest",
    "Monitor",
    "NanGuard",
    "Progress",
    "RunLogger",
    "Summaries",
]
