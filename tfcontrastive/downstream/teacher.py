"""A teacher: a trained classifier that only answers."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import storage
from tfcontrastive.config import InputError
from tfcontrastive.data import Preprocessing
from tfcontrastive.downstream.finetune import encoder_of
from tfcontrastive.pretrained.trained import CARD, Trained, load_trained, saved_model_in
from tfcontrastive.runs.model_dir import ModelDir

_LOGITS = "logits_sup"


class Teacher:
    """Logits `[B, C]` of images `[B, H, W, C]` in [0, 1] by a trained classifier, in inference mode, without gradient.

    Load it in the scope of the strategy that it is used in.

    Args:
        path: the `model_dir` of a fine-tuned, distilled or pre-trained run (whose online probe then answers); a
            SavedModel with logits: an export of this package, or one of google-research/simclr's published models; or a
            file of published weights with a supervised head, see `pretrained.load`.

    Attributes:
        num_classes: C.
        image_size, channels: that it takes; None where any will do or it does not say.
        encoder: its network without the heads, None where only the SavedModel's graph is known.
        preprocessing: how the encoder's images are prepared.
        facts: of published weights: family, licence, ...; {} of others.

    Raises:
        InputError: nothing there, or a model without logits.

    Examples:
        >>> Teacher("runs/a_10pct")(images).shape
        TensorShape([8, 10])
    """

    def __init__(self, path: str):
        self.path = path
        self.encoder: keras.Model | None = None
        self.image_size: int | None = None
        self.channels: int | None = None
        self.preprocessing = Preprocessing()
        self.facts: Mapping[str, Any] = {}
        if ModelDir(path).is_run:
            self._logits = self._of_trained(load_trained(checkpoint=path))
        elif saved_model := saved_model_in(path):
            self._logits = self._of_saved_model(saved_model)
        elif storage.exists(path) or storage.exists(f"{path}.index"):
            self._logits = self._of_trained(load_trained(checkpoint=path))
        else:
            raise InputError(
                f"`teacher` must be the model_dir of a run, a SavedModel, or published weights. Received: {path!r}."
            )

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        return tf.stop_gradient(tf.cast(self._logits(images), tf.float32))

    def check(self, *, image_size: int, channels: int) -> None:
        """Raises InputError where it cannot take such images."""
        for name, own, value in (("image_size", self.image_size, image_size), ("channels", self.channels, channels)):
            if own not in (None, value):
                raise InputError(f"`{name}` must be what the teacher takes, {own}. Received: {name}={value}.")

    def _of_trained(self, trained: Trained) -> Callable[[tf.Tensor], tf.Tensor]:
        head = trained.supervised_head
        if head is None:
            raise InputError(f"`teacher` must have logits: fine-tune it first. Received: {trained.name}.")
        trunk: keras.Model = trained.encoder  # of a checkpoint, hence no `SavedEncoder`
        self.preprocessing, self.facts = trained.preprocessing, trained.facts
        self.num_classes = head.compute_output_shape((None, trunk.output_shape[-1]))[-1]
        self.encoder = encoder_of(trunk)
        self.image_size, self.channels = trunk.input_shape[1], trunk.input_shape[-1]
        return lambda images: head(trunk(images, training=False))

    def _of_saved_model(self, path: str) -> Callable[[tf.Tensor], tf.Tensor]:
        loaded = tf.saved_model.load(path)
        card = os.path.join(path, CARD)
        self.facts = json.loads(storage.read_text(card)).get("imported") or {} if storage.exists(card) else {}
        self._loaded = loaded  # its signatures live as long as it does
        signature = loaded.signatures.get("features")
        if signature is not None and _LOGITS in signature.structured_outputs:
            shape = next(iter(signature.structured_input_signature[1].values())).shape
            self.image_size, self.channels = shape[1], shape[-1]
            self.num_classes = signature.structured_outputs[_LOGITS].shape[-1]
            return lambda images: signature(images=images)[_LOGITS]
        try:
            outputs = loaded(tf.zeros([1, 224, 224, 3]), trainable=False)
            self.num_classes = outputs[_LOGITS].shape[-1]
        except (TypeError, KeyError, ValueError) as error:
            raise InputError(f"`teacher` must have logits, `{_LOGITS}`. Received: {path}, which has none.") from error
        return lambda images: loaded(images, trainable=False)[_LOGITS]
