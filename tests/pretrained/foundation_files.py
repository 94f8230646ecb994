"""Files of published foundation encoders, as the original libraries write them."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import h5py
import numpy as np

from tests.foundation import values
from tfcontrastive.pretrained.safetensors_file import write_safetensors
from tfcontrastive.pretrained.torch_file import write_torch


def write(case: dict[str, Any], folder: pathlib.Path, held: dict[str, np.ndarray] | None = None) -> pathlib.Path:
    """The files of a case; returns what is given to `load`.

    Args:
        case: one of `CASES`.
        folder: to write to.
        held: the variables, if others than the case's.
    """
    held = values(case) if held is None else held
    for name, settings in case["beside"].items():
        (folder / name).write_text(json.dumps(settings))
    path = folder / case["file"]
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, value in held.items():
                file[name] = value
    elif path.suffix == ".safetensors":
        write_safetensors(str(path), held)
    else:
        write_torch(str(path), held)
    return folder if case.get("as_folder") else path
