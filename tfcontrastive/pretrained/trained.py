"""A trained encoder, wherever it comes from: a run, an export, or a network by its name."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import hub, pretrained, storage
from tfcontrastive.config import EncoderConfig, InputError, from_nested
from tfcontrastive.data import Preprocessing
from tfcontrastive.encoders import encoder_from_name
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.encoders.whitening import heads_of
from tfcontrastive.models import checkpoint_files
from tfcontrastive.models.checkpoint import restore_weights
from tfcontrastive.models.classifier import Classifier
from tfcontrastive.pretrained.model_folder import CARD
from tfcontrastive.runs.load_run import load_run
from tfcontrastive.runs.model_dir import ModelDir

ARCHITECTURE = os.path.join("assets.extra", "encoder.json")
"""Where an export keeps the Keras configuration of its encoder, beside the graph."""

MAX_VERSION = 2**63 - 1
"""The highest version of an export: TensorFlow Serving's are 64-bit integers."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """An encoder, and the heads that came with it.

    Attributes:
        encoder: images `[B, H, W, C]` in [0, 1] -> features `[B, F]`, called as `encoder(images, training=False)`. A
            `keras.Model`, but for a SavedModel that does not tell its architecture: then a `SavedEncoder`.
        projection_head: features -> projection, None where there is none.
        supervised_head: features -> logits, None where there is none.
        image_size: height and width it was made for, None where any will do.
        channels: of its images.
        name: where it comes from, for reports.
        step: that it was trained to, 0 where not known.
        ft_proj_selector: the layer of the projection head that it was pre-trained to be fine-tuned from.
        preprocessing: how its images are cropped and resized; the normalisation is in the encoder.
        config: of the encoder, where it is known.
        facts: of published weights, and of an export of such: their family, licence, feature, ...

    It can be called as its encoder can.
    """

    encoder: keras.Model | SavedEncoder
    projection_head: keras.layers.Layer | None
    supervised_head: keras.layers.Layer | None
    image_size: int | None
    channels: int
    name: str
    step: int = 0
    ft_proj_selector: int = 0
    preprocessing: Preprocessing = dataclasses.field(default_factory=Preprocessing)
    config: EncoderConfig | None = None
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self.encoder(images, training=training)

    def __repr__(self) -> str:
        return f"Trained({self.name}; images {self.input_shape})"

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """`(None, H, W, C)` that the encoder takes, None in places where any will do."""
        return getattr(self.encoder, "input_shape", None)

    def fingerprint(self) -> str:
        """A hash of the encoder's weights: equal for the same encoder, wherever it was loaded from."""
        if not self.encoder.variables:  # a SavedModel that does not show them
            return self.name
        digest = hashlib.sha256()
        for variable in self.encoder.variables:
            digest.update(np.ascontiguousarray(variable.numpy()).tobytes())
        return digest.hexdigest()[:16]


class SavedEncoder:
    """The encoder of a SavedModel whose architecture is not known: it can be called, and nothing else.

    Args:
        path: the directory of `saved_model.pb`, written by this package or for `hub.KerasLayer`.

    Call arguments:
        images: `[B, H, W, C]` float32.
        training: whether batch norm uses the batch's own statistics.

    Raises:
        InputError: it maps no images to vectors.
    """

    def __init__(self, path: str):
        self._loaded = tf.saved_model.load(path)
        if not callable(self._loaded):
            raise InputError(f"`saved_model` must be callable on images. Received: {path}, which has signatures only.")
        self.input_shape = tuple(self._images(path).as_list())
        self.variables = getattr(self._loaded, "variables", ())
        self._try(path)

    def _try(self, path: str) -> None:
        height, width, channels = self.input_shape[1:]
        try:
            features = self(tf.zeros([1, height or 224, width or 224, channels or 3]))
        except (TypeError, ValueError, tf.errors.InvalidArgumentError) as error:
            raise InputError(
                "`saved_model` must be one to call as `loaded(images, training=False)`; published weights of other "
                f"projects are for --checkpoint. Received: {path}: {str(error).strip().splitlines()[0][:200]}"
            ) from error
        if not isinstance(features, tf.Tensor):
            raise InputError(
                f"`saved_model` must map images to [B, F]. Received: {path}, with a {type(features).__name__}."
            )

    def __call__(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        return self._loaded(images, training=training)

    def _images(self, path: str) -> tf.TensorShape:
        for function in self._loaded.__call__.concrete_functions:
            for spec in tf.nest.flatten(function.structured_input_signature):
                if isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4:
                    return spec.shape
        raise InputError(f"`saved_model` must take images [B, H, W, C]. Received: {path}.")


def load_trained(
    *,
    checkpoint: str | None = None,
    saved_model: str | None = None,
    encoder: str | None = None,
    weights: str | None = None,
    image_size: int | None = None,
    channels: int = 3,
) -> Trained:
    """Loads an encoder from exactly one of three places.

    Args:
        checkpoint: the `model_dir` of a run, the `output_dir` of a fine-tuning or distillation, or published weights of
            another project, see `pretrained.load`; or what lies on a hub, see `load`.
        saved_model: an export, or the base of its versions; or one on a hub.
        encoder: a network by name, as `encoder_from_name` takes it; keras_hub presets bring their own weights.
        weights: a file of the named network's weights, see `encoder_from_name`; without it they are random, as its name
            then says.
        image_size: height and width that the encoder is built for; None takes what it was trained on. With `encoder` it
            may stay None where the network takes any size.
        channels: of the images, with `encoder` only; the others know theirs.

    Raises:
        InputError: none or several of the three, nothing there, or another size than the encoder takes.

    Examples:
        >>> trained = load_trained(checkpoint="runs/a")
        >>> features = trained.encoder(images, training=False)
    """
    given = {"checkpoint": checkpoint, "saved_model": saved_model, "encoder": encoder}
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        received = ", ".join(chosen) or "none"
        raise InputError(f"Give exactly one of checkpoint, saved_model and encoder. Received: {received}.")
    if weights is not None and encoder is None:
        raise InputError(
            f"`weights` is for `encoder`, a network by name. Received: weights={weights!r} with {chosen[0]}."
        )
    if checkpoint is not None and hub.is_address(checkpoint):
        return _of_hub(checkpoint, "checkpoint", image_size)
    if saved_model is not None and hub.is_address(saved_model):
        return _of_hub(saved_model, "saved_model", image_size)
    if checkpoint is not None:
        is_run = ModelDir(checkpoint).is_run
        return _of_run(checkpoint, image_size) if is_run else _of_published(checkpoint, image_size)
    if saved_model is not None:
        return _of_saved_model(saved_model, image_size)
    return _of_name(encoder, weights, image_size, channels)


def load(path: str | os.PathLike, *, image_size: int | None = None) -> Trained:
    """Loads an encoder from wherever it lies: a run, a fine-tuning or distillation, an export, or published weights.

    Args:
        path: the directory of one of the first three; or of published weights what `pretrained.load` takes, but for a
            SavedModel, which is called as it is: `load_trained(checkpoint=path)` reads the weights in it. On a hub:
            `hf://user/name[@revision]` (extra `huggingface`) or `kaggle://user/model/framework/variation[/version]` (extra
            `kaggle`), which their own clients fetch into their own caches.
        image_size: as `load_trained`.

    Raises:
        InputError: nothing there that holds an encoder.

    Examples:
        >>> encoder = tfcontrastive.load("runs/a")
        >>> features = encoder(images)
    """
    path = os.fspath(path)
    if hub.is_address(path):
        return _of_hub(path, "path", image_size)
    files = storage.names_in(path)
    exported = "saved_model.pb" in files or any(name.isdigit() for name in files)
    is_run = ModelDir(path).is_run
    if exported and not is_run:
        return load_trained(saved_model=path, image_size=image_size)
    return load_trained(checkpoint=path, image_size=image_size)


def _of_hub(address: str, argument: str, image_size: int | None) -> Trained:
    found = load(hub.local_path(address, argument), image_size=image_size)
    return dataclasses.replace(found, name=address)


def _of_name(encoder: str, weights: str | None, image_size: int | None, channels: int) -> Trained:
    network = encoder_from_name(encoder, (image_size, image_size, channels), weights=weights)
    if encoder.startswith("keras_hub/"):
        known = "the preset's weights"
    else:
        known = "random weights" if weights is None else f"weights of {weights}"
    rule = Preprocessing.of(network)
    return Trained(network, None, None, image_size, channels, f"{encoder}, {known}", preprocessing=rule)


def _of_run(model_dir: str, image_size: int | None) -> Trained:
    stored = ModelDir(model_dir).read_config()
    if stored["kind"] == "adapt":  # what was chosen is its export, which may be the encoder as it was
        return _of_saved_model(ModelDir(model_dir).saved_model, image_size)
    if stored["kind"] == "distill_features":
        return _of_student(model_dir, stored, image_size)
    if stored["kind"] != "pretrain":
        return _of_classifier(model_dir, stored, image_size)
    if ModelDir(model_dir).chosen == "given":  # `fit` from trained weights, which were not surely better afterwards
        found = _of_saved_model(ModelDir(model_dir).saved_model, image_size)
        return dataclasses.replace(found, config=from_nested(EncoderConfig(), stored["encoder"]))
    run = load_run(model_dir, image_size=image_size)
    encoder, size = run.model.encoder, run.config.data.image_size
    projection_head, probe = heads_of(run.model)
    selector = getattr(run.config.method_config, "ft_proj_selector", 0)
    name = f"{run.config.method}, step {run.step} of {model_dir}"
    channels, config = encoder.input_shape[-1], run.config.encoder
    return Trained(
        encoder,
        projection_head,
        probe,
        size,
        channels,
        name,
        run.step,
        selector,
        run.preprocessing,
        config,
        ModelDir(model_dir).read_origin(),
    )


def _of_classifier(model_dir: str, stored: dict[str, Any], image_size: int | None) -> Trained:
    directory = ModelDir(model_dir)
    newest = checkpoint_files.newest(directory.checkpoints)
    if newest is None:
        raise InputError(f"`checkpoint` must hold a checkpoint. Received: {model_dir}, without one.")
    network = json.loads(storage.read_text(directory.network))
    model = Classifier(
        keras.saving.deserialize_keras_object(network["trunk"]),
        network["num_classes"],
        fine_tune_after_block=stored["fine_tune_after_block"],
        ema_decay=stored["ema_decay"],
    )
    restore_weights(newest, model)
    for weight, average in zip(model.learned() if model.averages else [], model.averages, strict=True):
        weight.assign(average)
    trunk, size = model.trunk, image_size or stored["data"]["image_size"]
    if size != stored["data"]["image_size"]:
        trunk = rebuild(trunk, image_size=size)
    step = checkpoint_files.newest_step(directory.checkpoints)
    name = f"{stored['kind']}, step {step} of {model_dir}"
    rule = Preprocessing(**network.get("preprocessing", {}))
    facts = directory.read_origin()
    return Trained(trunk, None, model.head, size, trunk.input_shape[-1], name, step, preprocessing=rule, facts=facts)


def _of_student(model_dir: str, stored: dict[str, Any], image_size: int | None) -> Trained:
    directory = ModelDir(model_dir)
    newest = checkpoint_files.newest(directory.checkpoints)
    if newest is None:
        raise InputError(f"`checkpoint` must hold a checkpoint. Received: {model_dir}, without one.")
    network = json.loads(storage.read_text(directory.network))
    encoder: Any = keras.saving.deserialize_keras_object(network["encoder"])
    restore_weights(newest, encoder, "encoder")
    size = image_size or stored["data"]["image_size"]
    if size != stored["data"]["image_size"]:
        encoder = rebuild(encoder, image_size=size)
    step = checkpoint_files.newest_step(directory.checkpoints)
    name = f"distilled from {stored['teacher']}, step {step} of {model_dir}"
    rule, config = Preprocessing(**network["preprocessing"]), from_nested(EncoderConfig(), stored["encoder"])
    channels = encoder.input_shape[-1]
    return Trained(encoder, None, None, size, channels, name, step, preprocessing=rule, config=config)


def _of_published(path: str, image_size: int | None) -> Trained:
    found = pretrained.load(path, image_size=image_size)
    return Trained(
        found.on_pixels(),
        found.projection_head,
        found.supervised_head,
        image_size,
        channels=3,
        name=f"{found.report.family}: {path}",
        preprocessing=found.preprocessing,
        config=found.config,
        facts={"family": found.report.family, **found.report.facts},
    )


def _of_saved_model(saved_model: str, image_size: int | None) -> Trained:
    path = latest_version(saved_model)
    encoder = rebuilt_encoder(path) or SavedEncoder(path)
    height, channels = encoder.input_shape[1], encoder.input_shape[3]
    if image_size is not None and height not in (None, image_size):
        raise InputError(f"`image_size` must be what the encoder takes, {height}. Received: image_size={image_size}.")
    card = os.path.join(path, CARD)
    told = json.loads(storage.read_text(card)) if storage.exists(card) else {}
    rule = Preprocessing(**told.get("preprocessing", {}).get("rule", {}))
    size = image_size or height
    return Trained(encoder, None, None, size, channels, path, preprocessing=rule, facts=told.get("imported") or {})


def rebuilt_encoder(path: str) -> keras.Model | None:
    """The Keras encoder of an export, with its weights; None where the export does not tell its architecture.

    Args:
        path: the directory of `saved_model.pb`.
    """
    file = os.path.join(path, ARCHITECTURE)
    if not storage.exists(file):
        return None
    config = json.loads(storage.read_text(file))
    try:
        encoder: Any = keras.saving.deserialize_keras_object(config)
    except (TypeError, ValueError) as error:
        # A class that this process does not know, or code that Keras does not run from a file.
        logging.info("%s is called as a SavedModel, not rebuilt in Keras: %s", path, str(error).splitlines()[0])
        return None
    saved = tf.saved_model.load(path).variables
    if [tuple(v.shape) for v in saved] != [tuple(v.shape) for v in encoder.variables]:
        raise InputError(f"`saved_model` must hold the weights of its own {ARCHITECTURE}. Received: {path}.")
    for variable, value in zip(encoder.variables, saved, strict=True):
        variable.assign(value)
    return encoder


def saved_model_in(path: str | os.PathLike) -> str | None:
    """The SavedModel's own directory, of a path to it or to the base of its versions (the highest); None: there is none."""
    path = os.fspath(path)
    versions = versions_in(path)
    if not storage.exists(os.path.join(path, "saved_model.pb")) and versions:
        path = os.path.join(path, versions[-1])
    return path if storage.exists(os.path.join(path, "saved_model.pb")) else None


def versions_in(base: str) -> list[str]:
    """The versions of a base as TensorFlow Serving counts them, the highest last: directories named by a number."""
    numbers = [name for name in storage.names_in(base) if name.isascii() and name.isdecimal()]
    versions = [name for name in numbers if int(name) <= MAX_VERSION and storage.is_dir(os.path.join(base, name))]
    return sorted(versions, key=int)


def latest_version(saved_model: str | os.PathLike) -> str:
    """As `saved_model_in`, of what must be one.

    Raises:
        InputError: there is none.
    """
    path = saved_model_in(saved_model)
    if path is None:
        raise InputError(f"`saved_model` must be a SavedModel or a directory of versions. Received: {saved_model}.")
    return path
