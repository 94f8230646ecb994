"""Weights that others have published, as models of this package, and ours as files of theirs."""

from tfcontrastive.pretrained.load import Pretrained, load, recognise
from tfcontrastive.pretrained.mapping import Report
from tfcontrastive.pretrained.save import FORMATS, save

__all__ = ["FORMATS", "Pretrained", "Report", "load", "recognise", "save"]
