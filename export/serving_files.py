"""What a server of an export reads, with the settings that were measured to be the fastest."""

from __future__ import annotations

import importlib.resources
import os
import re
from collections.abc import Sequence

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.export.benchmark import Timing, advice, fastest_saved_model
from tfcontrastive.pretrained.trained import latest_version
from tfcontrastive.system.hardware import cpu_class

_COMPOSE = "docker-compose.yml"
_NAMES = (_COMPOSE, "models.config", "batching.config")
_OURS = "# Written by `tfcontrastive serve-check --benchmark --write`; it writes it again.\n"
_HEADING = "\n## Measured\n"


def write_serving_files(saved_model: str | os.PathLike, timings: Sequence[Timing], batch_size: int) -> str:
    """Writes `serving/` beside the versions of an export, for `docker compose up` there, and a section of its README.

    Args:
        saved_model: what `save_model` wrote, or the base of its versions.
        timings: of `benchmark_export`.
        batch_size: that they were measured with.

    Returns:
        The path of docker-compose.yml.

    Raises:
        InputError: if the SavedModel was not timed, or the files there are not this function's.

    Examples:
        >>> from tfcontrastive.export.benchmark import Timing
        >>> write_serving_files("exported", [Timing("SavedModel", {"TF_ENABLE_ONEDNN_OPTS": "1"}, 40.0, 25.0, 1.0)], 1)
        'exported/serving/docker-compose.yml'
    """
    path = latest_version(saved_model)
    folder = os.path.join(os.path.dirname(path), "serving")
    fastest = fastest_saved_model(timings)
    if fastest is None:
        raise InputError("`write` needs a SavedModel that could be timed. Received: none that answered.")
    for name in _NAMES:
        place = os.path.join(folder, name)
        if storage.exists(place) and not storage.read_text(place).startswith(_OURS):
            raise InputError(f"`write` must not replace files of your own. Received: {place}. Move it away.")
    storage.make_writable("write", folder)
    for name in _NAMES:
        text = (importlib.resources.files("tfcontrastive.export") / "serving" / name).read_text(encoding="utf-8")
        if name == _COMPOSE:
            text = text.replace("${EXPORT_DIR:?}", "${EXPORT_DIR:-..}")
            for setting, value in fastest.settings.items():
                text = re.sub(rf"\$\{{{setting}:-[^}}]*\}}", f"${{{setting}:-{value}}}", text)
        storage.write(os.path.join(folder, name), _OURS + text)
    readme = os.path.join(path, "README.md")
    before = storage.read_text(readme) if storage.exists(readme) else ""
    storage.write(readme, before.partition(_HEADING)[0] + _section(timings, batch_size))
    return os.path.join(folder, _COMPOSE)


def _section(timings: Sequence[Timing], batch_size: int) -> str:
    rows = "".join(
        f"| {each.artefact} | {' '.join(f'`{name}={value}`' for name, value in each.settings.items())} "
        f"| {each.images_per_second:.4g} |\n"
        for each in timings
        if each.images_per_second
    )
    return (
        f"{_HEADING}\n{advice(timings, batch_size)} On {os.cpu_count()} cores, {cpu_class()}, by `tfcontrastive "
        f"serve-check --benchmark --batch_size={batch_size} --write`, which also wrote the server's settings into "
        f"`../serving`.\n\n| artefact | settings | images/s |\n|---|---|---|\n{rows}"
    )
