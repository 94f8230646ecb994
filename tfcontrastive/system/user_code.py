"""Code of the user's own, by name: `file.py:NAME` or `package.module:NAME`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

from tfcontrastive.config import InputError


def load_object(argument: str, name: str, kind: str = "class", *, run_code: bool = True) -> Any:
    """What `file.py:NAME` or `package.module:NAME` names: a class or a function.

    Args:
        argument: that the name was given for, for the error's sake.
        name: of the object. A module is found as `import` finds it, a file by its path.
        kind: of object, "class" or "function".
        run_code: False takes only what this process has loaded already: a name that was found in a file of settings must
            not decide what code is run.

    Raises:
        InputError: there is no such object, or its code would have to be run.
    """
    where, _, attribute = name.rpartition(":")
    module = _loaded(where)
    if module is None and not run_code:
        raise InputError(
            f"the run's {argument}, {name}, is code that is not run because a config.json names it. Load it first, with "
            f"`tfcontrastive.system.user_code.load_object({argument!r}, {name!r})`, or take the run's saved_model."
        )
    try:
        return getattr(module or _load(where), attribute)
    except (ImportError, OSError, AttributeError) as error:
        shown = "Class" if kind == "class" else kind
        where = f"file.py:{shown} or package.module:{shown}"
        raise InputError(f"`{argument}` must name a {kind} as {where}. Received: {name!r}: {error}.") from error


def _load(where: str) -> ModuleType:
    if not where.endswith(".py"):
        return importlib.import_module(where)
    spec = importlib.util.spec_from_file_location(_module_name(where), os.path.abspath(where))
    if spec is None or spec.loader is None:
        raise ImportError(f"{where} is no file of Python")
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
