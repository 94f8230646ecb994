"""A trained run, rebuilt from its directory alone: its images may be elsewhere, or gone."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import Any

from absl import logging

from tfcontrastive import storage
from tfcontrastive.config import InputError, TrainConfig, from_nested, nested
from tfcontrastive.data import ImageSpec, Preprocessing
from tfcontrastive.encoders.whitening import whitening_of
from tfcontrastive.methods import ContrastiveModel, method_class
from tfcontrastive.models.checkpoint import restore
from tfcontrastive.models.checkpoint_files import newest, newest_step
from tfcontrastive.runs.builders import build_model
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.runs.schedule import Plan
from tfcontrastive.system.user_code import load_object


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's config, its model with the weights of the newest checkpoint, that checkpoint's step, and the facts for
    `save_model`'s card."""

    config: TrainConfig
    model: ContrastiveModel
    step: int
    card: dict[str, Any]

    @property
    def preprocessing(self) -> Preprocessing:
        """How its images are decoded, cropped and resized; the normalisation is in the encoder."""
        return Preprocessing.of_run(self.config.encoder, self.config.data)


def load_run(model_dir: str | os.PathLike, *, image_size: int | None = None, channels: int | None = None) -> Run:
    """Rebuilds the model of a run from its config.json and its newest checkpoint.

    The data set is not needed: config.json tells the number of classes and the channels of the images.

    Args:
        model_dir: the run's directory.
        image_size: height and width in pixels that the encoder is built for; None takes the run's. Another one works
            where the architecture does not depend on it.
        channels: of the images; None: the run's.

    Raises:
        InputError: if there is no run or checkpoint, or the checkpoint does not fit the network.

    Examples:
        >>> from tfcontrastive.export import save_model
        >>> run = load_run("runs/a")
        >>> path = save_model(run.model, "exported", card=run.card, preprocessing=run.preprocessing)
    """
    directory = ModelDir(os.fspath(model_dir))
    stored = directory.read_config()
    if stored["kind"] != "pretrain":
        raise InputError(
            f"`model_dir` must be a run of pre-training. Received: {directory.path!r}, of {stored['kind']}; "
            f"its SavedModel is {directory.saved_model}."
        )
    config = read_config(stored, image_size)
    path = newest(directory.checkpoints)
    if path is None:
        raise InputError(f"`model_dir` must hold a checkpoint. Received: {directory.path!r}, without one.")
    step = newest_step(directory.checkpoints)
    held = ImageSpec(**stored["images"], name=config.data.dataset)
    images = held if channels is None else dataclasses.replace(held, channels=channels)
    # A plan needs a number of images, on which no weight depends.
    model = build_model(config, images, Plan.make(config, num_examples=config.loop.train_batch_size))
    restore(path, model)
    whitening = whitening_of(getattr(model, "encoder", None))
    if whitening is not None and not whitening.fitted:
        logging.warning(
            "%s has not ended: its features are as they are until then, not whitened (`--whiten_features`).",
            directory.path,
        )
    return Run(config, model, step, card_of(config, directory, step))


def read_config(stored: dict[str, Any], image_size: int | None = None) -> TrainConfig:
    """The config of a run from what its config.json holds."""
    method = stored.get("method", "simclr")
    cls = method_class(method, run_code=False)
    encoder = (stored.get("encoder") or {}).get("encoder", "")
    if ":" in encoder:
        load_object("encoder", encoder, "function", run_code=False)
    values = {
        name: value for name, value in stored.items() if name not in ("format", "tfcontrastive", "kind", "images")
    }
    config = from_nested(TrainConfig(method=method, method_config=cls.Config()), values)
    if image_size is None:
        return config
    return dataclasses.replace(config, data=dataclasses.replace(config.data, image_size=image_size))


def card_of(config: TrainConfig, directory: ModelDir, step: int) -> dict[str, Any]:
    """What the run adds to the model's card; metrics only where they are those of this step."""
    data = {name: getattr(config.data, name) for name in ("dataset", "train_split", "image_size")}
    result = {}
    if storage.exists(directory.result):
        result = json.loads(storage.read_text(directory.result))
    metrics = {name: value for name, value in result.items() if name != "step"} if result.get("step") == step else {}
    card = {"step": step, "data": data, "recipe": nested(config, lasting=True), "metrics": metrics}
    origin = directory.read_origin()
    return {**card, "imported": origin} if origin else card
