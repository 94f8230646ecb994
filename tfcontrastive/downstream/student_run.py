"""A student again, from the directory of its distillation alone."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from tfcontrastive import storage
from tfcontrastive.config import EncoderConfig, from_nested, nested
from tfcontrastive.config.distill_features import FeatureDistillConfig
from tfcontrastive.data import Preprocessing
from tfcontrastive.pretrained.trained import Trained, load_trained
from tfcontrastive.runs.model_dir import ModelDir


@dataclasses.dataclass(frozen=True)
class StudentRun:
    """A student with the weights of its newest checkpoint, as `runs.load_run.Run` is of pre-training."""

    config: FeatureDistillConfig
    model: Trained
    step: int
    card: dict[str, Any]

    @property
    def preprocessing(self) -> Preprocessing:
        """How its images are decoded, cropped and resized."""
        return self.model.preprocessing


def is_student(model_dir: str | os.PathLike) -> bool:
    """Whether a directory holds a distillation from features."""
    directory = ModelDir(os.fspath(model_dir))
    return directory.is_run and directory.read_config()["kind"] == FeatureDistillConfig.kind


def load_student(model_dir: str | os.PathLike, *, image_size: int | None = None) -> StudentRun:
    """Rebuilds a student.

    Args:
        model_dir: of the distillation.
        image_size: height and width in pixels that it is built for; None takes the run's.

    Raises:
        InputError: no checkpoint, or one that does not fit.

    Examples:
        >>> from tfcontrastive.export import save_model
        >>> run = load_student("runs/small")
        >>> path = save_model(run.model, "exported", card=run.card, preprocessing=run.preprocessing)
    """
    directory = ModelDir(os.fspath(model_dir))
    stored = directory.read_config()
    trained = load_trained(checkpoint=directory.path, image_size=image_size)
    values = {
        name: value for name, value in stored.items() if name not in ("format", "tfcontrastive", "kind", "images")
    }
    config = from_nested(FeatureDistillConfig(encoder=EncoderConfig()), values)
    config = config.changed(data=dataclasses.replace(config.data, image_size=trained.image_size))
    result = json.loads(storage.read_text(directory.result)) if storage.exists(directory.result) else {}
    metrics = {name: value for name, value in result.items() if name != "step"}
    card = {"recipe": nested(config, lasting=True), "metrics": metrics if result.get("step") == trained.step else {}}
    return StudentRun(config, trained, trained.step, {"step": trained.step, **card})
