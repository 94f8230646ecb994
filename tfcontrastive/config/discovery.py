"""Finding configs: a package whose modules hold one each is a table of them, and a new one needs no line elsewhere."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

from tfcontrastive.config.base import BaseConfig


def configs_in(package: str, path: Sequence[str], suffix: str) -> dict[str, type[BaseConfig]]:
    """The config of each module of a package, by the module's name.

    Args:
        package: its dotted name.
        path: its `__path__`.
        suffix: that the class's name has, such as "Config"; modules without such a class are not in the table.

    Examples:
        >>> from tfcontrastive.methods import configs
        >>> configs_in(configs.__name__, configs.__path__, "Config")["moco_v3"].__name__
        'MoCoV3Config'
    """
    found = {}
    for info in pkgutil.iter_modules(path):
        module = importlib.import_module(f"{package}.{info.name}")
        own = [
            value
            for name, value in vars(module).items()
            if name.endswith(suffix) and isinstance(value, type) and value.__module__ == module.__name__
        ]
        if len(own) == 1:
            found[info.name] = own[0]
    return found
