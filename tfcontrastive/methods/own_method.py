"""Methods of other packages and files, by name."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType

from tfcontrastive.config import InputError
from tfcontrastive.methods.base import ContrastiveModel


def own_method(name: str, *, run_code: bool = True) -> type[ContrastiveModel]:
    """The class that `file.py:Class` or `package.module:Class` names.

    Args:
        name: of the class. A module is found as `import` finds it, a file by its path.
        run_code: False takes only what this process has loaded already: a name that was found in a file of settings must
            not decide what code is run.

    Raises:
        InputError: there is no such class, it is no method, or its code would have to be run.
    """
    where, _, kind_name = name.rpartition(":")
    module = _loaded(where)
    if module is None and not run_code:
        raise InputError(
            f"the run's method, {name}, is code that is not run because a config.json names it. Load it first, with "
            f"`tfcontrastive.methods.method_class({name!r})`, or take the run's saved_model."
        )
    try:
        kind = getattr(module or _load(where), kind_name)
    except (ImportError, OSError, AttributeError) as error:
        raise InputError(
            f"`method` must name a class as file.py:Class or package.module:Class. Received: {name!r}: {error}."
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, ContrastiveModel) and hasattr(kind, "Config")):
        raise InputError(f"`method` must name a ContrastiveModel with a `Config`. Received: {name!r}.")
    return kind


def _load(where: str) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(_module_name(where), os.path.abspath(where))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and type hints look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _loaded(where: str) -> ModuleType | None:
    module = sys.modules.get(_module_name(where))
    if module is not None and where.endswith(".py") and module.__file__ != os.path.abspath(where):
        return None
    return module


def _module_name(where: str) -> str:
    """A file's name as a module cannot be that of any other module: `dcl.py` may lie beside a package `dcl`."""
    return f"file {os.path.basename(where)}" if where.endswith(".py") else where
