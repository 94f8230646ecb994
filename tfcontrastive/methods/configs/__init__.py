"""The settings of every method, one file each. They need no TensorFlow, so that the command line answers at once.

A method is a file here, with its config, and the file of the same name in `tfcontrastive.methods`, with its class:
`DCLConfig` in `dcl.py` is found by its file and is that of the class `DCL` in `methods/dcl.py`.
"""

from __future__ import annotations

from tfcontrastive.config import BaseConfig
from tfcontrastive.config.discovery import configs_in

CONFIGS: dict[str, type[BaseConfig]] = configs_in(__name__, __path__, "Config")
"""The config of each method, by the method's name."""
