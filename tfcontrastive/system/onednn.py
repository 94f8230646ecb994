"""oneDNN, TensorFlow's library of CPU kernels: on for what trains, left to TensorFlow where a model serves.

TensorFlow leaves it off on CPUs without AVX-512, where a training step takes twice the time without it; a served model
that gets one image at a time is many times slower with it there. TensorFlow reads the variable once, at its import.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "TF_ENABLE_ONEDNN_OPTS"
_OURS = "TFCONTRASTIVE_SET_ONEDNN"  # beside it, where this package set it: processes that this one starts know that too


def turn_on() -> bool:
    """Turns oneDNN on where the user has not chosen and TensorFlow is not imported yet; whether it did."""
    if VARIABLE in os.environ or "tensorflow" in sys.modules:
        return False
    os.environ[VARIABLE] = os.environ[_OURS] = "1"
    return True


def leave_to_tensorflow() -> None:
    """Takes `turn_on` back, for a process that serves; call it before TensorFlow is imported."""
    if os.environ.pop(_OURS, None) is not None:
        os.environ.pop(VARIABLE, None)


def warn_where_off() -> None:
    """One line where TensorFlow was imported first, without oneDNN, and the user did not ask for that."""
    if VARIABLE in os.environ or "tensorflow" not in sys.modules:
        return
    from tensorflow.python.util import _pywrap_util_port

    if not _pywrap_util_port.IsMklEnabled():
        from absl import logging

        logging.warning(
            "TensorFlow was imported before tfcontrastive and runs without oneDNN: a training step takes about twice the "
            "time. Import tfcontrastive first, or set %s=1.",
            VARIABLE,
        )
