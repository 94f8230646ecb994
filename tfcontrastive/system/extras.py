"""Packages that are installed only where an extra of this package was asked for."""

from __future__ import annotations

import importlib
from types import ModuleType

from tfcontrastive.config import InputError


def from_extra(extra: str, module: str, argument: str) -> ModuleType:
    """Imports a module that one of the extras in setup.cfg brings.

    Args:
        extra: hub, serving, parquet, pgvector, faiss, onnx, litert, huggingface, kaggle, mlflow or wandb.
        module: its full name.
        argument: what the user asked for it with.

    Raises:
        InputError: if it is not installed; says which command installs it.

    Examples:
        >>> from_extra("faiss", "faiss", argument="backend='faiss'").__name__
        'faiss'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"{argument} needs the package {error.name or module}, which is not installed. "
            f"Install it with: pip install 'tfcontrastive[{extra}]'"
        ) from error
