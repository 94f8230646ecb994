"""Methods of other packages and files, by name."""

from __future__ import annotations

from tfcontrastive.config import InputError
from tfcontrastive.methods.base import ContrastiveModel
from tfcontrastive.system.user_code import load_object


def user_method(name: str, *, run_code: bool = True) -> type[ContrastiveModel]:
    """The class that `file.py:Class` or `package.module:Class` names; the arguments are those of `load_object`.

    Raises:
        InputError: there is no such class, it is no method, or its code would have to be run.
    """
    cls = load_object("method", name, run_code=run_code)
    if not (isinstance(cls, type) and issubclass(cls, ContrastiveModel) and hasattr(cls, "Config")):
        raise InputError(f"`method` must name a ContrastiveModel with a `Config`. Received: {name!r}.")
    return cls
