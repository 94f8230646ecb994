"""The methods, one file each, by name."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from tfcontrastive.config import InputError, unknown
from tfcontrastive.methods.barlow_twins import BarlowTwins, BarlowTwinsConfig
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.methods.byol import BYOL, BYOLConfig
from tfcontrastive.methods.instdisc import InstDisc, InstDiscConfig
from tfcontrastive.methods.moco import MoCo, MoCoConfig
from tfcontrastive.methods.moco_v3 import MoCoV3, MoCoV3Config
from tfcontrastive.methods.own_method import own_method
from tfcontrastive.methods.relic import ReLIC, ReLICConfig
from tfcontrastive.methods.simclr import SimCLR, SimCLRConfig
from tfcontrastive.methods.supcon import SupCon, SupConConfig

METHODS: dict[str, type[ContrastiveModel]] = {
    "simclr": SimCLR,
    "moco": MoCo,
    "moco_v3": MoCoV3,
    "relic": ReLIC,
    "byol": BYOL,
    "supcon": SupCon,
    "barlow_twins": BarlowTwins,
    "instdisc": InstDisc,
}


def method_class(name: str, *, run_code: bool = True) -> type[ContrastiveModel]:
    """The class of a method.

    Args:
        name: a key of `METHODS`; or `file.py:Class` or `package.module:Class`, a method of your own.
        run_code: False refuses a name of the latter kind whose code this process has not loaded yet.

    Raises:
        InputError: no method has this name.
    """
    if ":" in name:
        return own_method(name, run_code=run_code)
    if name not in METHODS:
        raise InputError(f"`method` {unknown(name, METHODS)}")
    return METHODS[name]


def build(method: str, encoder: keras.Model, *, num_classes: int | None = None, **settings: Any) -> ContrastiveModel:
    """A method on an encoder, its settings given by name.

    Args:
        method: its name, as `method_class` takes it.
        encoder: a keras.Model, images `[B, H, W, C]` -> features `[B, F]`.
        num_classes: of the online probe.
        **settings: fields of the method's config, and arguments of `ContrastiveModel`, such as `augmentation` and `seed`.

    Raises:
        InputError: an unknown method, or a setting that neither takes, or both.

    Example:
        >>> model = tfcontrastive.build("simclr", encoder, temperature=0.2, seed=1)
    """
    kind = method_class(method)
    of_config, of_model = kind.Config.__dataclass_fields__, _model_settings(kind)
    for name in settings:
        if name not in of_config and name not in of_model:
            raise InputError(f"a setting of {method} {unknown(name, [*of_config, *of_model])}")
        if name in of_config and name in of_model:
            raise InputError(
                f"`{name}` must be one setting, and {kind.Config.__name__} and {kind.__name__} both have it. "
                f"Use {kind.__name__}(encoder, {kind.Config.__name__}({name}=...), {name}=...)."
            )
    config = kind.Config(**{name: value for name, value in settings.items() if name in of_config})
    options = {name: value for name, value in settings.items() if name in of_model}
    return kind(encoder, config, num_classes=num_classes, **options)


def _model_settings(kind: type[ContrastiveModel]) -> set[str]:
    """The arguments of a method's class, and those of its bases that it hands on."""
    named = {
        name
        for base in kind.__mro__
        if issubclass(base, ContrastiveModel) and "__init__" in vars(base)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    return (named | {"name"}) - {"self", "encoder", "config", "num_classes"}


__all__ = [
    "BYOL",
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
    "method_class",
]
