"""The methods, one file each, by name.

Their classes are imported on first use: their configs alone, which the command line is made from, need no TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from tfcontrastive.config import Checked, InputError, unknown
from tfcontrastive.methods.configs import (
    BarlowTwinsConfig,
    BYOLConfig,
    InstDiscConfig,
    MoCoConfig,
    MoCoV3Config,
    ReLICConfig,
    SimCLRConfig,
    SupConConfig,
)

if TYPE_CHECKING:
    import keras

    from tfcontrastive.methods.base import ContrastiveModel

    METHODS: dict[str, type[ContrastiveModel]]

CONFIGS: dict[str, type[Checked]] = {
    "simclr": SimCLRConfig,
    "moco": MoCoConfig,
    "moco_v3": MoCoV3Config,
    "relic": ReLICConfig,
    "byol": BYOLConfig,
    "supcon": SupConConfig,
    "barlow_twins": BarlowTwinsConfig,
    "instdisc": InstDiscConfig,
}
"""The config of each method, by the method's name."""

_CLASSES = {
    "simclr": "SimCLR",
    "moco": "MoCo",
    "moco_v3": "MoCoV3",
    "relic": "ReLIC",
    "byol": "BYOL",
    "supcon": "SupCon",
    "barlow_twins": "BarlowTwins",
    "instdisc": "InstDisc",
}  # of the module of the same name


def __getattr__(name: str) -> Any:
    if name == "METHODS":
        globals()[name] = {
            method: getattr(importlib.import_module(f"{__name__}.{method}"), kind) for method, kind in _CLASSES.items()
        }
        return globals()[name]
    if name == "ContrastiveModel":
        return importlib.import_module(f"{__name__}.base").ContrastiveModel
    for method, kind in _CLASSES.items():
        if name == kind:
            return __getattr__("METHODS")[method]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def config_class(name: str) -> type[Checked]:
    """The class of a method's config. That of a method of your own is found by running its code.

    Args:
        name: of the method, as `method_class` takes it.

    Raises:
        InputError: no method has this name.
    """
    return method_class(name).Config if ":" in name else CONFIGS[_known(name)]


def method_class(name: str, *, run_code: bool = True) -> type[ContrastiveModel]:
    """The class of a method.

    Args:
        name: a key of `METHODS`; or `file.py:Class` or `package.module:Class`, a method of your own.
        run_code: False refuses a name of the latter kind whose code this process has not loaded yet.

    Raises:
        InputError: no method has this name.
    """
    if ":" in name:
        from tfcontrastive.methods.own_method import own_method

        return own_method(name, run_code=run_code)
    return __getattr__("METHODS")[_known(name)]


def _known(name: str) -> str:
    if name not in CONFIGS:
        raise InputError(f"`method` {unknown(name, CONFIGS)}")
    return name


def build(method: str, encoder: keras.Model, *, num_classes: int | None = None, **config: Any) -> ContrastiveModel:
    """A method on an encoder, its settings given by name.

    Args:
        method: its name, as `method_class` takes it.
        encoder: a keras.Model, images `[B, H, W, C]` -> features `[B, F]`.
        num_classes: of the online probe.
        **config: fields of the method's config.

    Raises:
        InputError: an unknown method, or a setting that it does not take.

    Example:
        >>> model = tfcontrastive.build("simclr", encoder, temperature=0.2)
    """
    kind = method_class(method)
    known = kind.Config.__dataclass_fields__
    for name in config:
        if name not in known:
            raise InputError(f"a setting of {method} {unknown(name, known)}")
    return kind(encoder, kind.Config(**config), num_classes=num_classes)


__all__ = [
    "BYOL",
    "CONFIGS",
    "METHODS",
    "BYOLConfig",
    "BarlowTwins",
    "BarlowTwinsConfig",
    "ContrastiveModel",
    "InstDisc",
    "InstDiscConfig",
    "MoCo",
    "MoCoConfig",
    "MoCoV3",
    "MoCoV3Config",
    "ReLIC",
    "ReLICConfig",
    "SimCLR",
    "SimCLRConfig",
    "SupCon",
    "SupConConfig",
    "build",
    "config_class",
    "method_class",
]
