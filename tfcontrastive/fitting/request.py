"""What is asked for: the images, the minutes, and the settings that are not to be decided."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Generic, TypeVar

from tfcontrastive import methods
from tfcontrastive.config import InputError, RunSettings, TrainConfig, flat_fields, replace_flat, unknown

COMPARISONS = ("fine_tuned", "supervised")


Settings = TypeVar("Settings", bound=RunSettings)


@dataclasses.dataclass(frozen=True)
class Request(Generic[Settings]):
    """What is asked for.

    Attributes:
        config: of the training; its `loop.model_dir` is where everything goes.
        asked: names of the settings in it that were asked for; the others are decided.
        minutes: that the whole may take; None: the config's own length.
        comparison: what labels are used for: `fine_tuned`, the trained encoder goes on with them; `supervised`, the same
            network learns from them alone.
    """

    config: Settings
    asked: frozenset[str]
    minutes: float | None
    comparison: str = "fine_tuned"

    def __post_init__(self):
        if self.minutes is not None and not 0 < self.minutes < float("inf"):
            raise InputError(f"`minutes` must be > 0. Received: minutes={self.minutes}.")
        if self.comparison not in COMPARISONS:
            raise InputError(f"`comparison` {unknown(self.comparison, COMPARISONS)}")
        folder, output = self.folder, self.config.loop.model_dir
        if folder is not None and _is_inside(output, folder):
            raise InputError(
                f"`output_dir` must lie outside the images, or its pictures are trained on. Received: {output!r} in "
                f"{folder!r}."
            )

    @property
    def folder(self) -> str | None:
        """The folder of images; None where they are of another kind."""
        kind, _, where = self.config.data.dataset.partition(":")
        return os.path.expanduser(where) if kind == "folder" else None

    @property
    def title(self) -> str:
        """What the images are called."""
        kind, _, where = self.config.data.dataset.partition(":")
        return os.path.basename(os.path.abspath(where)) if where else kind


def make_request(
    what: str | os.PathLike, *, minutes: float | None, output_dir: str | os.PathLike | None, **settings: Any
) -> Request[TrainConfig]:
    """The request of a folder or a data set, with settings as `tfcontrastive train` has them.

    Args:
        what: see `dataset_of`.
        minutes: that the whole may take.
        output_dir: where everything goes; None: the images' name and `_fit`, here.
        **settings: of `TrainConfig` and of the method, by name.

    Raises:
        InputError: no such images, or no such setting.

    Examples:
        >>> make_request("embedded", minutes=6, output_dir=None, train_batch_size=64).config.loop.model_dir
        'embedded_fit'
    """
    dataset = dataset_of(os.fspath(what))
    name = settings.get("method", "simclr")
    base = TrainConfig(method=name, method_config=methods.config_class(name)())
    known = flat_fields(base)
    for setting in settings:
        if setting not in known or setting in ("dataset", "model_dir"):
            raise InputError(f"a setting of `fit` {unknown(setting, known.keys() - {'dataset', 'model_dir'})}")
    if settings.get("train_minutes"):
        raise InputError(
            "`train_minutes` must be left out, or 0: `minutes` is the time of everything, training included. Received: "
            f"train_minutes={settings['train_minutes']}."
        )
    if output_dir is None:
        kind, _, where = dataset.partition(":")
        output_dir = (
            f"{os.path.basename(os.path.abspath(os.path.expanduser(where))) if where else kind.split('/')[0]}_fit"
        )
    config = replace_flat(base, {**settings, "dataset": dataset, "model_dir": os.fspath(output_dir)})
    return Request(config, frozenset(settings), minutes)


def dataset_of(what: str) -> str:
    """What `--dataset` would be: a folder is `folder:` and an .npz file is `npz:`; the rest is as it is.

    Raises:
        InputError: a path where there is no folder of images.

    Examples:
        >>> dataset_of("embedded"), dataset_of("npz:images.npz")
        ('embedded', 'npz:images.npz')
    """
    if what.startswith(("folder:", "npz:", "tfrecord:")) or what == "embedded" or ".py:" in what:
        return what
    path = os.path.expanduser(what)
    if os.path.isdir(path):
        prepared = any("dataset_info.json" in files for _, _, files in _levels(path, 3))
        return what if prepared else f"folder:{what}"
    if os.path.exists(path):
        if path.lower().endswith(".npz"):
            return f"npz:{what}"
        raise InputError(
            f"`dataset` must be a folder of images, npz:FILE, tfrecord:GLOB, or a name of tensorflow-datasets. "
            f"Received: {what!r}, which is a file. Give the folder that it lies in."
        )
    if what.startswith(("~", ".", os.sep)) or what.endswith(os.sep):
        raise InputError(f"`dataset` must be a folder of images. Received: {what!r}, which does not exist.")
    return what


def _levels(path: str, depth: int):
    """`os.walk`, no deeper than some levels: data sets of tensorflow-datasets have their description near the top."""
    try:
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError:  # told of where the folder is read
        return
    yield path, [], [entry.name for entry in entries if entry.is_file()]
    folders = [entry.path for entry in entries if entry.is_dir()]
    for folder in folders[:3] if depth > 1 else []:
        yield from _levels(folder, depth - 1)


def _is_inside(path: str, folder: str) -> bool:
    own, above = (os.path.realpath(os.path.expanduser(one)) for one in (path, folder))
    return own == above or own.startswith(above + os.sep)
