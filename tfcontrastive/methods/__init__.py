"""The methods, one file each, by name.

Their classes are imported on first use: their configs alone, which the command line is made from, need no TensorFlow.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from tfcontrastive.config import BaseConfig, InputError, unknown
from tfcontrastive.methods.configs import CONFIGS

if TYPE_CHECKING:
    import keras

    from tfcontrastive.methods.base import ContrastiveModel

    METHODS: dict[str, type[ContrastiveModel]]

_CLASSES = {method: config.__name__.removesuffix("Config") for method, config in CONFIGS.items()}
_CONFIG_NAMES = {config.__name__: config for config in CONFIGS.values()}
NAMES = ("METHODS", "ContrastiveModel", "StepOutput", "build", *_CLASSES.values(), *_CONFIG_NAMES)
"""What `tfcontrastive` itself names too."""


@functools.cache
def _methods() -> dict[str, type[ContrastiveModel]]:
    return {method: getattr(importlib.import_module(f"{__name__}.{method}"), name) for method, name in _CLASSES.items()}


def __getattr__(name: str) -> Any:
    if name == "METHODS":
        return _methods()
    if name == "ContrastiveModel":
        return importlib.import_module(f"{__name__}.base").ContrastiveModel
    if name == "StepOutput":
        return importlib.import_module(f"{__name__}.step_output").StepOutput
    for method, class_name in _CLASSES.items():
        if name == class_name:
            return _methods()[method]
    if name in _CONFIG_NAMES:
        return _CONFIG_NAMES[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def config_class(name: str) -> type[BaseConfig]:
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
        from tfcontrastive.methods.user_method import user_method

        return user_method(name, run_code=run_code)
    return _methods()[_known(name)]


def _known(name: str) -> str:
    if name not in CONFIGS:
        raise InputError(f"`method` {unknown(name, CONFIGS)}")
    return name


def build(method: str, encoder: keras.Model, *, num_classes: int | None = None, **settings: Any) -> ContrastiveModel:
    """A method on an encoder, its settings given by name.

    Args:
        method: its name, as `method_class` takes it.
        encoder: a keras.Model, images `[B, H, W, C]` -> features `[B, F]`.
        num_classes: of the online probe.
        **settings: fields of the method's config, and arguments of `ContrastiveModel`, such as `augmentation` and `seed`.

    Raises:
        InputError: an unknown method, or a setting that neither takes, or both.

    Examples:
        >>> model = tfcontrastive.build("simclr", encoder, temperature=0.2, seed=1)
    """
    cls = method_class(method)
    of_config, of_model = cls.Config.__dataclass_fields__, _model_settings(cls)
    for name in settings:
        if name not in of_config and name not in of_model:
            raise InputError(f"a setting of {method} {unknown(name, [*of_config, *of_model])}")
        if name in of_config and name in of_model:
            raise InputError(
                f"`{name}` must be one setting, and {cls.Config.__name__} and {cls.__name__} both have it. "
                f"Use {cls.__name__}(encoder, {cls.Config.__name__}({name}=...), {name}=...)."
            )
    config = cls.Config(**{name: value for name, value in settings.items() if name in of_config})
    options = {name: value for name, value in settings.items() if name in of_model}
    return cls(encoder, config, num_classes=num_classes, **options)


def _model_settings(cls: type[ContrastiveModel]) -> set[str]:
    """The arguments of a method's class, and those of its bases that it hands on."""
    from tfcontrastive.methods.base import ContrastiveModel

    named = {
        name
        for base in cls.__mro__
        if issubclass(base, ContrastiveModel) and "__init__" in vars(base)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if parameter.kind is not parameter.VAR_KEYWORD
    }
    return (named | {"name"}) - {"self", "encoder", "config", "num_classes"}


__all__ = ["CONFIGS", "NAMES", "config_class", "method_class", *NAMES]
