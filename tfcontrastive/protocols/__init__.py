"""The protocols of `tfcontrastive evaluate` by name; `tfcontrastive.config.protocols` says what a new one is.

Those that train have their evaluators here: few labels, how many labels an encoder saves, other data sets. Classes are
imported on first use: the settings alone, which the command line is made from, need no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfcontrastive.config import BaseConfig, InputError, unknown
from tfcontrastive.config.protocols import PROTOCOLS
from tfcontrastive.config.protocols.base import TuningSettings
from tfcontrastive.system.user_code import load_object

if TYPE_CHECKING:
    from tfcontrastive.evaluate import Evaluator


def settings_class(name: str) -> type[BaseConfig]:
    """The settings of a protocol; made without arguments they are its defaults.

    Raises:
        InputError: there is no such protocol.
    """
    if ":" in name:
        return user_protocol(name)
    if name not in PROTOCOLS:
        raise InputError(f"`protocol` {unknown(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def protocol_class(name: str) -> type[Evaluator]:
    """The evaluator of a protocol: its settings, and what is measured.

    Raises:
        InputError: there is no such protocol.
    """
    settings: Any = settings_class(name)
    if ":" in name:
        return settings
    room = "protocols" if issubclass(settings, TuningSettings) else "evaluate"
    return getattr(importlib.import_module(f"tfcontrastive.{room}.{name}"), settings.__name__.removesuffix("Settings"))


def user_protocol(name: str) -> type[BaseConfig]:
    """An evaluator of your own, `file.py:Class`: a frozen dataclass of settings, each a `setting`, with `run`.

    Raises:
        InputError: there is no such class, or it is no evaluator.
    """
    cls = load_object("protocol", name)
    if not (isinstance(cls, type) and issubclass(cls, BaseConfig) and callable(getattr(cls, "run", None))):
        raise InputError(
            "`protocol` must name an evaluator: a dataclass of tfcontrastive.config.Checked, such as a FeatureEvaluator, "
            f"with `run`. Received: {name!r}."
        )
    return cls


_HOMES = {"Curve": "curve", "Semi": "semi", "Transfer": "transfer"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
