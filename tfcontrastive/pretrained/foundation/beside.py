"""What a publisher lays beside a file of weights: the settings that its variables do not tell."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.keras_hub_folder import normalisation_of, settings_of

_FILES = {
    "config": ("config.json",),
    "preprocessor": ("preprocessor_config.json",),
    "open_clip": ("open_clip_config.json",),
}
_LARGEST = 10_000_000


@dataclasses.dataclass(frozen=True)
class Beside:
    """The settings beside a file, each {} where there are none.

    Attributes:
        transformers: the config.json of Hugging Face transformers, that of the vision tower where there are two towers.
        timm: the config.json of timm.
        open_clip: the `model_cfg` of OpenCLIP's open_clip_config.json.
        preprocessor: a preprocessor_config.json, or what keras_hub's image converter says under its names.
    """

    transformers: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    timm: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    open_clip: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preprocessor: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def mean_and_std(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """How images are normalised, where it is told."""
        told = self.preprocessor or self.timm.get("pretrained_cfg", {})
        mean, std = (told.get(f"image_{name}", told.get(name)) for name in ("mean", "std"))
        if not (isinstance(mean, list) and isinstance(std, list)):
            return None
        return tuple(map(float, mean)), tuple(map(float, std))

    @property
    def timm_name(self) -> str:
        """Architecture and tag of timm, such as "vit_base_patch16_224.mae"; "" where not told."""
        tag = self.timm.get("pretrained_cfg", {}).get("tag") or ""
        return f"{self.timm.get('architecture', '')}.{tag}" if self.timm else ""


def read_beside(path: str) -> Beside:
    """The settings beside a file, or in a directory.

    Raises:
        InputError: one of the files is no JSON object.
    """
    folder = path if os.path.isdir(path) else os.path.dirname(path)
    found = {kind: _read(folder, names) for kind, names in _FILES.items()}
    config = found["config"]
    is_timm = "architecture" in config
    transformers = config if "model_type" in config and not is_timm else settings_of(folder)
    tower = transformers.get("vision_config")
    if isinstance(tower, dict):
        transformers = {"projection_dim": transformers.get("projection_dim"), **tower}
    model = found["open_clip"].get("model_cfg")
    return Beside(
        transformers=transformers,
        timm=config if is_timm else {},
        open_clip=model if isinstance(model, dict) else {},
        preprocessor=found["preprocessor"] or normalisation_of(folder),
    )


def _read(folder: str, names: tuple[str, ...]) -> dict[str, Any]:
    for name in names:
        file = os.path.join(folder, name)
        if not os.path.isfile(file) or os.path.getsize(file) > _LARGEST:
            continue
        try:
            with open(file, encoding="utf-8") as text:
                held = json.load(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{name} beside it is no JSON: {error}") from error
        if isinstance(held, dict):
            return held
        raise InputError(f"{name} beside it must hold a JSON object")
    return {}
