"""A trained run, rebuilt from its directory alone: its images may be elsewhere, or gone."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import types
from typing import Any

import tensorflow as tf

from tfcontrastive.callbacks.checkpoints import newest_step
from tfcontrastive.config import InputError, TrainConfig, leaves, replace_leaves
from tfcontrastive.methods import ContrastiveModel, method_class
from tfcontrastive.model_dir import ModelDir
from tfcontrastive.train import Plan, build_encoder, build_model

_VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's config, its model with the weights of the newest checkpoint, that checkpoint's step, and the facts for
    `save_model`'s card."""

    config: TrainConfig
    model: ContrastiveModel
    step: int
    card: dict[str, Any]


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

    Example:

    ```python
    run = load_run("runs/photos")
    save_model(run.model, "exported", card=run.card)
    ```
    """
    directory = ModelDir(os.fspath(model_dir))
    stored = directory.read_config()
    config = read_config(stored, image_size)
    newest = tf.train.latest_checkpoint(directory.checkpoints)
    if newest is None:
        raise InputError(f"`model_dir` must hold a checkpoint. Received: {directory.path!r}, without one.")
    step = newest_step(directory.checkpoints)
    shapes = _variable_shapes(newest)
    images = types.SimpleNamespace(
        num_classes=shapes.get("model/probe/kernel", [None])[-1],
        channels=channels or _channels(config, shapes),
    )
    # A plan needs a number of images, on which no weight depends.
    plan = Plan.make(config, num_examples=config.loop.train_batch_size)
    model = build_model(config, images, plan)
    _restore(newest, model)
    return Run(config, model, step, _card(config, directory, step))


def read_config(stored: dict[str, Any], image_size: int | None = None) -> TrainConfig:
    """The config of a run from what its config.json holds."""
    method = stored.get("method", "simclr")
    config = replace_leaves(TrainConfig(method=method, method_config=method_class(method).Config()), stored)
    return config if image_size is None else replace_leaves(config, {"image_size": image_size})


def _restore(checkpoint: str, model: ContrastiveModel) -> None:
    """Sets what is exported: the weights of the encoder, the projection head and the probe.

    The rest (targets, queues, the optimizer) stays: a name may hold the number of its like in the process.
    """
    parts = [model.encoder, getattr(model, "projection_head", None), model.probe]
    named = {f"model/{v.path}": v.value for part in parts if part is not None for v in part.variables}
    try:
        status = tf.train.Checkpoint(**named).restore(checkpoint)
        status.assert_existing_objects_matched().expect_partial()
    except (ValueError, AssertionError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the checkpoint must be of this very network. Received: {checkpoint}: {reason}") from error


def _card(config: TrainConfig, directory: ModelDir, step: int) -> dict[str, Any]:
    """What the run adds to the model's card; metrics only where they are those of this step."""
    values = {name: value for name, (field, value) in leaves(config).items() if not field.metadata["may_change"]}
    data = {name: values[name] for name in ("dataset", "train_split", "image_size")}
    result = {}
    if os.path.exists(directory.result):
        with open(directory.result, encoding="utf-8") as file:
            result = json.load(file)
    metrics = {name: value for name, value in result.items() if name != "step"} if result.get("step") == step else {}
    return {"step": step, "data": data, "recipe": values, "metrics": metrics}


def _variable_shapes(checkpoint: str) -> dict[str, list[int]]:
    """{name that `checkpoint_of` gave: shape}."""
    shapes = tf.train.load_checkpoint(checkpoint).get_variable_to_shape_map()
    return {_unescaped(name.removesuffix(_VALUE)): shape for name, shape in shapes.items() if name.endswith(_VALUE)}


def _unescaped(name: str) -> str:
    """TensorFlow writes `/` in an attribute's name as `.S`, and `.` as `..`."""
    return re.sub(r"\.(.)", lambda match: "/" if match[1] == "S" else match[1], name)


def _channels(config: TrainConfig, shapes: dict[str, list[int]]) -> int:
    """The images' channels: where the first kernel is not that of a network for RGB, its own."""
    encoder = build_encoder(config.encoder, image_size=config.data.image_size, channels=3)
    for variable in encoder.weights:
        shape, stored = list(variable.shape), shapes.get(f"model/{variable.path}")
        if stored is not None and len(shape) == 4 and shape[2] == 3 and stored[2] != 3:
            return stored[2]
    return 3
