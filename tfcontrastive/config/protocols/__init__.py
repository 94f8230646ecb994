"""The settings of every protocol of `tfcontrastive evaluate`, one file each. They need no TensorFlow, so that the
command line answers at once.

A protocol is a file here, with its settings, and the file of the same name in `tfcontrastive.evaluate`, or in
`tfcontrastive.protocols` where it trains the encoder: `LinearSettings` in `linear.py` are found by their file and are those
of the evaluator `Linear` in `evaluate/linear.py`, which adds what is measured.
"""

from __future__ import annotations

from tfcontrastive.config.base import BaseConfig
from tfcontrastive.config.discovery import configs_in

PROTOCOLS: dict[str, type[BaseConfig]] = {
    name: kind for name, kind in configs_in(__name__, __path__, "Settings").items() if name != "base"
}
"""The settings of each protocol, by its name."""
