"""Your own images, one command: looked at, decided on, held out, trained on, measured, and left ready to use."""

from tfcontrastive.fitting.fit import fit
from tfcontrastive.fitting.result import FitResult

__all__ = ["FitResult", "fit"]
