"""Weights that others have published, as models of this package, and ours as files of theirs."""

from tfcontrastive.pretrained.load import Pretrained, load, recognise
from tfcontrastive.pretrained.mapping import Report

__all__ = ["Pretrained", "Report", "load", "recognise"]
