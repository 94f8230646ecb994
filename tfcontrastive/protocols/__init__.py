"""The protocols of `tfcontrastive evaluate` by name: a new one is its settings, an evaluator and one line here.

Those that train have their evaluators here: few labels, how many labels an encoder saves, other data sets. Classes are
imported on first use: the settings alone, which the command line is made from, need no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfcontrastive.config import Checked, InputError, unknown
from tfcontrastive.config import protocols as settings
from tfcontrastive.system.own_code import own_object

if TYPE_CHECKING:
    from tfcontrastive.evaluate import Evaluator

PROTOCOLS: dict[str, type[Checked]] = {
    "knn": settings.KNNSettings,
    "linear": settings.LinearSettings,
    "robustness": settings.RobustnessSettings,
    "ood": settings.OutOfDistributionSettings,
    "invariances": settings.InvariancesSettings,
    "content_style": settings.ContentStyleSettings,
    "geometry": settings.GeometrySettings,
    "semi": settings.SemiSettings,
    "curve": settings.CurveSettings,
    "transfer": settings.TransferSettings,
}
"""The settings of each, which need no TensorFlow; its evaluator is the class of the same name without `Settings`."""


def settings_class(name: str) -> type[Checked]:
    """The settings of a protocol; made without arguments they are its defaults.

    Raises:
        InputError: there is no such protocol.
    """
    if ":" in name:
        return own_protocol(name)
    if name not in PROTOCOLS:
        raise InputError(f"`protocol` {unknown(name, PROTOCOLS)}")
    return PROTOCOLS[name]


def protocol_class(name: str) -> type[Evaluator]:
    """The evaluator of a protocol: its settings, and what is measured.

    Raises:
        InputError: there is no such protocol.
    """
    kind: Any = settings_class(name)
    if ":" in name:
        return kind
    room = "protocols" if issubclass(kind, settings.TuningSettings) else "evaluate"
    return getattr(importlib.import_module(f"tfcontrastive.{room}"), kind.__name__.removesuffix("Settings"))


def own_protocol(name: str) -> type[Checked]:
    """An evaluator of your own, `file.py:Class`: a frozen dataclass of settings, each an `option`, with `run`.

    Raises:
        InputError: there is no such class, or it is no evaluator.
    """
    kind = own_object("protocol", name)
    if not (isinstance(kind, type) and issubclass(kind, Checked) and callable(getattr(kind, "run", None))):
        raise InputError(
            "`protocol` must name an evaluator: a dataclass of tfcontrastive.config.Checked, such as a FeatureEvaluator, "
            f"with `run`. Received: {name!r}."
        )
    return kind


_HOMES = {"Curve": "curve", "Semi": "semi", "Transfer": "transfer"}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
