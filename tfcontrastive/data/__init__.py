"""Data: sources of images, and batches of views that are a pure function of (seed, step)."""

from tfcontrastive.data.arrays import ArraySource
from tfcontrastive.data.bag import Bag
from tfcontrastive.data.fixed_views import FixedViews
from tfcontrastive.data.folder import FolderSource
from tfcontrastive.data.held_out import HeldOut
from tfcontrastive.data.image_spec import ImageSpec
from tfcontrastive.data.pipeline import eval_batches, train_batches
from tfcontrastive.data.preprocessing import PREPROCESSING, Preprocessing
from tfcontrastive.data.source import Source
from tfcontrastive.data.sources import load, with_held_out
from tfcontrastive.data.subset import Subset, balanced_rows, labels_of
from tfcontrastive.data.tfds import TfdsSource
from tfcontrastive.data.tfrecord import TfRecordSource

__all__ = [
    "PREPROCESSING",
    "ArraySource",
    "Bag",
    "FixedViews",
    "FolderSource",
    "HeldOut",
    "ImageSpec",
    "Preprocessing",
    "Source",
    "Subset",
    "TfRecordSource",
    "TfdsSource",
    "balanced_rows",
    "eval_batches",
    "labels_of",
    "load",
    "train_batches",
    "with_held_out",
]
