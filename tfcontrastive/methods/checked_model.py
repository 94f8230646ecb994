"""A model that looks at its data before it learns from it, measures on it or describes it."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError
from tfcontrastive.data import checks, elements
from tfcontrastive.models.replicated_model import ReplicatedModel

_BATCHES_WITH_A_LABEL = 16  # of so many first ones, at least one has a label


class CheckedModel(ReplicatedModel):
    """A `ReplicatedModel` of images, whose entrances refuse in one line what `data.checks` refuses.

    A subclass sets `encoder_shape` and `num_classes`, and takes elements of the data by `read`.
    """

    batch_keys: Sequence[str] = ()

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self._entered: dict[str, Any] = {}

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, for what `ContrastiveModel` takes.

        Raises:
            InputError: data that is none of it, sample or class weights, and batches that replicas would not share evenly.
        """
        kwargs |= dict(zip(list(inspect.signature(keras.Model.fit).parameters)[3:], args, strict=False))
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # it has an order of its own; Keras would warn of its default
        with checks.in_one_line():
            refuse_weights(**kwargs)
            x = self._entering(x, y, "train")
            self._check_labelled(x, y)
            held_out = kwargs.get("validation_data")
            if isinstance(held_out, (tuple, list)):
                refuse_weights(*held_out[2:])
                self._entering(held_out[0], held_out[1] if len(held_out) > 1 else None, "test")
            elif held_out is not None:
                kwargs["validation_data"] = self._entering(held_out, None, "test")
            return super().fit(x, y, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`: the loss, the method's metrics and the probe's on views of held-out images.

        Views are the same each time, networks are in inference mode, and nothing moves but the metrics.

        Raises:
            InputError: as `fit`.
        """
        with checks.in_one_line():
            refuse_weights(**kwargs)
            if not kwargs.get("_use_cached_eval_dataset"):  # in `fit`, which has looked at them
                x = self._entering(x, y, "test")
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Features `[N, F]` of images, as `keras.Model.predict`; integers 0..255 are scaled to [0, 1].

        Raises:
            InputError: as `fit`.
        """
        with checks.in_one_line():
            return super().predict(self._entering(x, None, "predict"), *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        with checks.in_one_line():
            refuse_weights(*args[:2], **kwargs)
            return super().train_on_batch(self._entering(x, y, "train"), y, *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        with checks.in_one_line():
            refuse_weights(*args[:1], **kwargs)
            return super().test_on_batch(self._entering(x, y, "test"), y, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        with checks.in_one_line():
            return super().predict_on_batch(self._entering(x, None, "predict"))

    def export(self, filepath: Any, format: str = "tf_saved_model", verbose: Any = None, **kwargs: Any) -> None:
        """As `keras.Model.export`: images -> features. `tfcontrastive.export.save_model` also serves files and heads."""
        if kwargs.get("input_signature") is None:  # Keras wants a call on images; the encoder says what it takes
            shape = (None, *self.encoder_shape.image)
            kwargs["input_signature"] = [keras.InputSpec(dtype="float32", shape=shape)]
        super().export(filepath, format, verbose, **kwargs)

    def predict_step(self, data: Any) -> tf.Tensor:
        element = elements.unpack(data)
        if element.images is None:
            raise InputError("`x` must be images [B, H, W, C]. Received: views.")
        return self(self._whole_images(element, sized=False), training=False)

    def read(self, data: Any) -> tuple[elements.Element, dict[str, tf.Tensor]]:
        """One element of the data, checked: images or views, and the rest of it, "label" `[B]` (-1: none), ..."""
        return self._read(data, asserted=self._asserts)

    def _read(self, data: Any, *, asserted: bool) -> tuple[elements.Element, dict[str, tf.Tensor]]:
        element, shape = elements.unpack(data), self.encoder_shape.image
        if element.images is not None:
            images = self._whole_images(element, asserted=asserted)
            views: list[tf.Tensor] = []
        else:
            images, ready = None, element.seeds is None
            views = checks.views_of(element.views, "`views`", shape, asserted=asserted, ready=ready)
        rows = views[0] if images is None else images
        batch = dict(element.rest)
        if element.label is not None:
            batch["label"] = checks.labels_of(element.label, "`y`", rows, self.num_classes, asserted=asserted)
        elif "label" not in self.batch_keys:
            batch["label"] = tf.ensure_shape(tf.fill([tf.shape(rows)[0]], -1), rows.shape[:1])
        return elements.Element(images, tuple(views), element.seeds), batch

    def _whole_images(
        self, element: elements.Element, *, asserted: bool | None = None, sized: bool = True
    ) -> tf.Tensor:
        asserted = self._asserts if asserted is None else asserted
        return checks.images_of(element.images, "`x`", self.encoder_shape.image, asserted=asserted, sized=sized)

    @property
    def _asserts(self) -> bool:
        """Whether a step's graph can look at values: XLA cannot, and a TPU has nothing else."""
        return not self.jit_compile and not isinstance(self.distribute_strategy, tf.distribute.TPUStrategy)

    def _entering(self, x: Any, y: Any, step: str) -> Any:
        """The data, of which arrays are checked here, and data sets, where the step cannot, on the host as they come.

        Args:
            x, y: the data.
            step: that takes them, "train", "test" or "predict".
        """
        elements.check_arrays((x, y), self.encoder_shape.image[-1], self.num_classes)
        shapes = elements.shapes((x, y))
        if self._entered.setdefault(step, shapes) != shapes:  # else TensorFlow would trace the step for any size
            setattr(self, f"{step}_function", None)
            self._entered[step] = shapes
        if self._asserts or not isinstance(x, tf.data.Dataset):
            return x

        @tf.autograph.experimental.do_not_convert
        def checked(*parts):
            element = parts if len(parts) > 1 else parts[0]
            if isinstance(element, dict) and "seeds" in element:  # made by `train_batches` of what was checked
                return element
            found, batch = self._read(element, asserted=True)
            seen = [tensor for tensor in (found.images, *found.views, batch.get("label")) if tensor is not None]
            with tf.control_dependencies(seen):
                return tf.nest.map_structure(tf.identity, element)

        return x.map(checked, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).prefetch(tf.data.AUTOTUNE)

    def _check_labelled(self, x: Any, y: Any) -> None:
        """A method that learns from labels must have some, which a data set of none, all -1, does not tell by its form."""
        if "label" not in self.batch_keys or distribute.step_of(self):
            return
        if not isinstance(x, tf.data.Dataset):
            if isinstance(y, np.ndarray) and not np.any(y >= 0):
                raise InputError(f"{type(self).__name__} needs labels. Received: labels that all are -1, for none.")
            return
        for data in x.take(_BATCHES_WITH_A_LABEL):
            label = elements.unpack(data).label
            if label is None or bool(tf.reduce_any(tf.cast(label, tf.int64) >= 0)):
                return  # none at all is told of by the step
        raise InputError(f"{type(self).__name__} needs labels. Received: a data set whose labels all are -1, for none.")


def refuse_weights(sample_weight: Any = None, class_weight: Any = None, **others: Any) -> None:
    """Raises InputError where images are to be weighed, which no loss here does."""
    for name, value in (("sample_weight", sample_weight), ("class_weight", class_weight)):
        if value is not None:
            received = type(value).__name__
            raise InputError(f"`{name}` must be None: the losses weigh all images alike. Received: a {received}.")
