"""Protocols that fine-tune the encoder: few labels, how many labels it saves, other data sets."""

from tfcontrastive.tuning.curve import Curve
from tfcontrastive.tuning.semi import Semi
from tfcontrastive.tuning.transfer import Transfer

__all__ = ["Curve", "Semi", "Transfer"]
