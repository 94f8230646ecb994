"""Your own images, one command: looked at, decided on, held out, trained on, measured, and left ready to use.

Names are imported on first use: what is asked for can be checked without TensorFlow.
"""

import importlib

_HOMES = {"AdaptResult": "adapt_result", "FitResult": "result", "adapt": "adapting", "fit": "stages"}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
