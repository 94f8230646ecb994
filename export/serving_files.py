"""The files that run TensorFlow Serving on an export, with the setting that was measured to be the fastest."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Sequence

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.export.benchmark import NAMES, Speed
from tfcontrastive.system import onednn

_FILES = ("docker-compose.yml", "models.config", "batching.config")
_SECTION = "\n## Speed\n"


def refuse_present(directory: str | os.PathLike) -> None:
    """Refuses a directory that holds one of the files already.

    Raises:
        InputError: if it does.
    """
    for name in _FILES:
        path = os.path.join(directory, name)
        if os.path.lexists(path):
            raise InputError(f"`compose` must be a directory without {name}. Received: {os.fspath(directory)}.")


def write_serving_files(
    directory: str | os.PathLike, saved_model: str, speeds: Sequence[Speed], *, batch_size: int, machine: str
) -> Speed:
    """Writes the compose file and its two others, and what was measured into the README of the version.

    Args:
        directory: where the files go; none of them may be there.
        saved_model: the directory of the version, whose base the compose file serves.
        speeds: of `benchmark_export`.
        batch_size: of the measurement.
        machine: on which, in words.

    Returns:
        The setting of the compose file: the fastest that TensorFlow Serving has.

    Raises:
        InputError: if a file is there already, or no setting of the SavedModel ran.
    """
    refuse_present(directory)
    served = [speed for speed in speeds if speed.images_per_second and _is_for_server(speed)]
    if not served:
        raise InputError("`compose` must come with a setting of the SavedModel that ran. Received: none did.")
    best = served[0]
    where = f"{best.images_per_second:.3g} images/s at batch {batch_size} on {machine}: {best.setting}"
    content = {name: _template(name) for name in _FILES}
    setting = f'    environment:\n      # {where}\n      {onednn.VARIABLE}: "{best.environment[onednn.VARIABLE]}"\n'
    content[_FILES[0]] = content[_FILES[0]].replace("    command:\n", f"{setting}    command:\n")
    os.makedirs(directory, exist_ok=True)
    for name, lines in content.items():
        storage.write(os.path.join(directory, name), lines)
    readme = os.path.join(saved_model, "README.md")
    before = storage.read_text(readme).partition(_SECTION)[0] if storage.exists(readme) else ""
    storage.write(readme, before + _section(speeds, batch_size, machine))
    return best


def _is_for_server(speed: Speed) -> bool:
    """TensorFlow Serving has neither XLA by a variable nor one thread by one."""
    return speed.artefact == "saved_model" and speed.setting in ("oneDNN on", "oneDNN off")


def _template(name: str) -> str:
    return (importlib.resources.files("tfcontrastive.export") / "serving" / name).read_text(encoding="utf-8")


def _section(speeds: Sequence[Speed], batch_size: int, machine: str) -> str:
    rows = "".join(
        f"| {NAMES[speed.artefact]} | {speed.setting} | {speed.images_per_second:.3g} |\n"
        for speed in speeds
        if speed.images_per_second
    )
    return (
        f"{_SECTION}\nImages per second at batch {batch_size} on {machine}, by `tfcontrastive serve-check --benchmark`:\n\n"
        f"| artefact | setting | images/s |\n|---|---|---|\n{rows}"
    )
