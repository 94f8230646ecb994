"""A trained run, rebuilt from its directory alone: its images may be elsewhere, or gone."""

from __future__ import annotations

import dataclasses
import json
import os
import types
from typing import Any

import tensorflow as tf

from tfcontrastive import storage
from tfcontrastive.callbacks import checkpoints
from tfcontrastive.config import InputError, TrainConfig, from_nested, nested
from tfcontrastive.data import Preprocessing
from tfcontrastive.methods import ContrastiveModel, method_class
from tfcontrastive.runs.builders import build_model
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.runs.schedule import Plan

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


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

    The data set is not needed: the number of classes and the channels of the images are read from the shapes of the
    checkpoint's variables.

    Args:
        model_dir: the run's directory.
        image_size: height and width in pixels that the encoder is built for; None takes the run's. Another one works
            where the architecture does not depend on it.
        channels: of the images; None reads them from the checkpoint.

    Raises:
        InputError: if there is no run or checkpoint, or the checkpoint does not fit the network.

    Examples:

    ```python
    run = load_run("runs/photos")
    save_model(run.model, "exported", card=run.card, preprocessing=run.preprocessing)
    ```
    """
    directory = ModelDir(os.fspath(model_dir))
    stored = directory.read_config()
    if stored["kind"] != "pretrain":
        raise InputError(
            f"`model_dir` must be a run of pre-training. Received: {directory.path!r}, of {stored['kind']}; "
            f"its SavedModel is {directory.saved_model}."
        )
    config = read_config(stored, image_size)
    newest = checkpoints.newest(directory.checkpoints)
    if newest is None:
        raise InputError(f"`model_dir` must hold a checkpoint. Received: {directory.path!r}, without one.")
    step = checkpoints.newest_step(directory.checkpoints)
    shapes = _shapes(newest)
    if channels is None:  # the first kernel [h, w, C, filters]
        channels = next((shape[2] for shape in shapes if len(shape) == 4), 3)
    # A plan needs a number of images, on which no weight depends.
    plan = Plan.make(config, num_examples=config.loop.train_batch_size)
    bare = dataclasses.replace(config, loop=dataclasses.replace(config.loop, lineareval_while_pretraining=False))
    model = build_model(bare, types.SimpleNamespace(num_classes=None, channels=channels), plan)
    metrics = {id(variable) for metric in model.metrics for variable in metric.variables}
    variables = [id(variable) for variable in model.variables if id(variable) not in metrics]
    if len(shapes) > len(variables):
        probe = shapes[1 + max(variables.index(id(variable)) for variable in model.encoder.variables)]
        model = build_model(config, types.SimpleNamespace(num_classes=probe[-1], channels=channels), plan)
    checkpoints.restore(newest, model)
    return Run(config, model, step, card_of(config, directory, step))


def read_config(stored: dict[str, Any], image_size: int | None = None) -> TrainConfig:
    """The config of a run from what its config.json holds."""
    method = stored.get("method", "simclr")
    kind = method_class(method, run_code=False)
    values = {name: value for name, value in stored.items() if name not in ("format", "tfcontrastive", "kind")}
    config = from_nested(TrainConfig(method=method, method_config=kind.Config()), values)
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
    return {"step": step, "data": data, "recipe": nested(config, lasting=True), "metrics": metrics}


def _shapes(checkpoint: str) -> list[list[int]]:
    """The shapes of the model's variables, in the order in which `checkpoint_of` counts them."""
    try:
        shapes = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()
    except checkpoints.DAMAGE as error:
        raise checkpoints.damaged(checkpoint, error) from error
    return [shapes[name] for name in sorted(shapes) if name.startswith("model_") and name.endswith(_VALUE)]
