"""ContrastiveModel: the training step that every method shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import augment, distribute
from tfcontrastive.config import AugmentConfig, BaseConfig, InputError
from tfcontrastive.data import checks
from tfcontrastive.encoders.checks import encoder_shape
from tfcontrastive.encoders.rebuild import copy_of
from tfcontrastive.methods.queue import Queue
from tfcontrastive.methods.step_output import StepOutput
from tfcontrastive.methods.view_model import ViewModel

_HELD_OUT = -1  # steps count down from here for views of held-out images, lest they be those of a training step


class ContrastiveModel(ViewModel):
    """An encoder that learns from random views of unlabelled images.

    A method writes `views_loss`, and `on_weights_updated` where it keeps an average of its weights or a queue. This class
    makes the views, trains the online probe on stopped gradients, divides by the number of replicas and applies the
    gradients:

        loss = views_loss(views) + regularization + cross_entropy(probe(stop_gradient(features)), labels)

    `fit` and `evaluate` take, as one element of their data, any of

      * `{"views": (v1, v2), "seeds": [B, V, 2], "label": [B]}`, as `tfcontrastive.data.train_batches` gives it: cropped
        views, whose colors are still to be changed;
      * images `[B, H, W, C]`, integers in 0..255 or floats in [0, 1], alone, with labels, or as `{"image": ...,
        "label": ...}`: views are made here, whole;
      * `(v1, v2)` or `((v1, v2), labels)`: views that are ready.

    Labels are integers `[B]` or one-hot `[B, num_classes]`.

    Args:
        encoder: any `keras.Model` that maps images `[B, H, W, C]` in [0, 1] to features `[B, F]`.
        config: the method's config; default: `self.Config()`.
        num_classes: trains a linear probe beside, if the data has labels (a label < 0 means: none).
        augmentation: the policy that makes views, by name and strength.
        seed: of the views that are made here; views from `train_batches` bring their own.
        global_bn, batch_norm_decay: of the heads' batch norm.
        total_steps: of the training, where a method has a schedule of its own (a momentum ramp).
        micro_batch_size: images that a replica's encoder holds the activations of; 0: all of its batch. The gradient
            stays that of the whole batch, but batch norm takes the statistics of a micro batch.
        gradient_accumulation_steps: parts in which a replica computes its batch, one after the other; the gradient is
            their mean, and batch norm takes the statistics of a part.

    Raises:
        InputError: where the encoder does not map images to vectors of a known size, or gradients are to be accumulated
            over parts of a batch whose images the method compares.

    Examples:
        >>> encoder = tfcontrastive.ResNet(18, width_multiplier=0.25, input_shape=(28, 28, 1))
        >>> model = tfcontrastive.SimCLR(encoder, tfcontrastive.SimCLRConfig(temperature=0.2))
        >>> model.compile(optimizer=tfcontrastive.LARS(0.3))
        >>> history = model.fit(images, batch_size=256, epochs=10)
    """

    Config: type[BaseConfig]
    config: Any  # a `Config`
    metric_names: Sequence[str] = ()
    batch_keys: Sequence[str] = ()  # what `views_loss` takes of the data beside views: "label", "index"
    compares_images = True  # False where the loss of an image depends on no other image of the batch
    encoded_views: int | None = None  # how many the encoder itself sees, turned ones too; None: all
    projection_head: keras.layers.Layer | None = (
        None  # features -> projections; a warm start, probes and exports find it
    )

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable("tfcontrastive")(cls)  # so that Keras loads what it saved

    def __init__(
        self,
        encoder: keras.Model,
        config: BaseConfig | None = None,
        *,
        num_classes: int | None = None,
        augmentation: AugmentConfig | None = None,
        seed: int = 0,
        global_bn: bool = True,
        batch_norm_decay: float = 0.9,
        total_steps: int | None = None,
        micro_batch_size: int = 0,
        gradient_accumulation_steps: int = 1,
        **kwargs: Any,
    ):
        super().__init__(augmentation=augmentation, seed=seed, micro_batch_size=micro_batch_size, **kwargs)
        self.config = self.Config() if config is None else config
        if not isinstance(self.config, self.Config):
            raise InputError(f"`config` must be a {self.Config.__name__}. Received: {type(config).__name__}.")
        self.policy = self.policy_of(self.augmentation, self.config)
        self.encoder = self.network_of(encoder, self.config)
        self.input_spec = None
        self.encoder_shape = encoder_shape(self.encoder)
        self.num_features = self.encoder_shape.num_features
        # Heads compute in no less than float32: they cost little, and batch norm after a rounded layer would magnify the
        # rounding wherever images differ by less than their mean.
        dtype = "float64" if self.encoder_shape.dtype == "float64" else "float32"
        self.head_options: dict[str, Any] = {
            "global_bn": global_bn,
            "batch_norm_decay": batch_norm_decay,
            "dtype": dtype,
        }
        self.total_steps = total_steps
        self.gradient_accumulation_steps = gradient_accumulation_steps
        if gradient_accumulation_steps > 1 and self.compares_images:
            able = sorted(kind.__name__ for kind in ContrastiveModel.__subclasses__() if not kind.compares_images)
            raise InputError(
                "`gradient_accumulation_steps` is for methods that do not compare the images of a batch: "
                f"{', '.join(able)}. Received: {gradient_accumulation_steps} with {type(self).__name__}. "
                "Use `micro_batch_size`, whose gradient is that of the whole batch."
            )
        self.num_classes = num_classes
        self.targets: list[tuple[keras.Layer, keras.Layer]] = []
        self._copied: frozenset[int] = (
            frozenset()
        )  # ids of the weights that were trained when targets were made of them
        self.probe = None
        if num_classes is not None:
            self.probe = keras.layers.Dense(num_classes, dtype=dtype, name="probe")
            self.probe.build((None, self.num_features))
        self.build_parts()
        names = ("loss", *self.metric_names, *(("probe_loss", "probe_accuracy") if self.probe else ()))
        self.trackers = {name: keras.metrics.Mean(name, dtype=dtype) for name in names}
        self.built = True

    # What a method writes.

    @classmethod
    def policy_of(cls, augmentation: AugmentConfig, config: Any) -> augment.Policy:
        """How an image becomes views; as it stands, `make_policy`, whatever the method's config."""
        del config
        return cls.make_policy(augmentation)

    @classmethod
    def network_of(cls, encoder: keras.Model, config: Any) -> keras.Model:
        """What is trained, evaluated and exported, of the network that is handed over; as it stands, that network.

        Args:
            encoder: what the class was given, or what this made of it before.
            config: the method's.
        """
        del config
        return encoder

    def build_parts(self) -> None:
        """Makes and builds the heads (and targets, queues) that the method adds to the encoder."""

    # By `*args: Any` and `**batch: Any` type checkers let a method name the keys that it takes, or none.
    def views_loss(self, views: Sequence[tf.Tensor], training: bool, *args: Any, **batch: Any) -> StepOutput:
        """The method's objective on this replica's views. A method that names `batch_keys` takes those too, by name.

        Args:
            views: V tensors `[B, H, W, C]` in [0, 1]; row i of each is the same image.
            training: whether batch norm uses the batch's own statistics.

        Returns:
            `StepOutput(loss, metrics, features)`: a mean over this replica's rows, `{name: scalar}` for each of
            `metric_names`, and what the probe is to see.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `views_loss`.")

    def logits_shape(self, images: int, replicas: int) -> tuple[int, int]:
        """Rows and columns of the largest matrix that the objective compares on a replica, for `plan`; (0, 0): none.

        Args:
            images: of a replica's batch.
            replicas: that share a batch.
        """
        rows = images * len(self.policy.views)
        return rows, rows * replicas

    @classmethod
    def encoded_sides(cls, config: Any, sides: tuple[int, ...]) -> tuple[int, ...]:
        """Heights, in pixels, of what the encoder sees of one image: as it stands, those of its views.

        Args:
            config: the method's.
            sides: of the views.
        """
        del config
        return sides

    def target_sides(self, sides: tuple[int, ...], encoded: tuple[int, ...]) -> tuple[int, ...]:
        """Heights, in pixels, of what a method's target encoder sees of one image, for `plan`.

        Args:
            sides: of the views.
            encoded: of what the encoder itself sees.
        """
        return tuple(side for side in sides if side == max(sides)) if encoded == sides else sides[len(encoded) :]

    def on_weights_updated(self) -> None:
        """Runs after each optimizer step; as it stands, targets follow their online parts."""
        if self.targets:
            self.follow(self.target_momentum())

    def target_momentum(self) -> tf.Tensor | float:
        """The share of its own weights that a target keeps in a step, in [0, 1]."""
        return self.config.target_momentum

    @classmethod
    def check(cls, config: Any, *, batch_size: int, replicas: int, num_examples: int | None) -> None:
        """Refuses a run that the method cannot do, before anything is built; as it stands, none.

        Args:
            config: the method's.
            batch_size: images of a step, over all replicas; a multiple of `replicas`.
            replicas: that share a batch.
            num_examples: images to train on; None where that is not known.

        Raises:
            InputError: names the field, the rule and a value that works.
        """
        del config, batch_size, replicas, num_examples

    # What every method shares.

    def add_head(self, head: keras.layers.Layer, width: int | None = None) -> keras.layers.Layer:
        """Builds a head on vectors `[B, width]`; default: the encoder's features.

        Examples:
            >>> from tfcontrastive.encoders import MLP
            >>> class Mine(tfcontrastive.ContrastiveModel):
            ...     Config = tfcontrastive.SimCLRConfig
            ...
            ...     def build_parts(self):
            ...         self.projection_head = self.add_head(MLP((2048, 128), **self.head_options))
            >>> Mine(encoder).embedding_dim
            128
        """
        head.build((None, width or self.num_features))
        return head

    @property
    def queues(self) -> list[keras.Variable]:
        """What is kept of earlier batches to be compared with, `[K, D]` each: the rows of the method's queues."""
        return [layer.rows for layer in self._flatten_layers() if isinstance(layer, Queue)]

    @property
    def embedding_dim(self) -> int:
        """D, the width of the vectors that are compared."""
        if self.projection_head is None:
            return self.num_features
        return self.projection_head.compute_output_shape((None, self.num_features))[-1]

    def add_target(self, online: keras.Layer) -> keras.Layer:
        """A copy of a part, first weights included, that no gradient moves: it follows as a moving average."""
        target = copy_of(online, f"`encoder` must be one that {type(self).__name__} can copy")
        self._copied |= {id(variable) for variable in online.trainable_variables}
        self.targets.append((target, online))
        return target

    def follow(self, momentum: tf.Tensor | float) -> None:
        """target = momentum * target + (1 - momentum) * online, for weights; each keeps its own batch-norm statistics.

        Weights are those that are trained now, or were when they were copied: layers may be frozen and unfrozen.
        """
        trained = {id(variable) for _, online in self.targets for variable in online.trainable_variables} | self._copied
        both = [
            pair for target, online in self.targets for pair in zip(target.variables, online.variables, strict=True)
        ]
        pairs, means = [(copy, variable) for copy, variable in both if id(variable) in trained], []
        for copy, variable in pairs:
            own = tf.cast(momentum, copy.dtype) if tf.is_tensor(momentum) else tf.constant(momentum, copy.dtype)
            means.append(own * tf.convert_to_tensor(copy) + (1.0 - own) * tf.convert_to_tensor(variable))
        distribute.assign_all([copy.value for copy, _ in pairs], means)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What the optimizer moves: every weight but the targets'."""
        targets = {id(variable) for target, _ in self.targets for variable in target.variables}
        return [variable for variable in super().trainable_variables if id(variable) not in targets]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images `[B, H, W, C]`, floats in [0, 1] or integers in 0..255 -> features `[B, F]`, as probes and exports see."""
        return self.encoder(checks.as_floats(images, asserted=self._asserts), training=training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step on this replica's share of the batch; the same for every method."""
        views, batch = self.make_views(data)
        values, gradients = self.values_and_gradients(views, batch)
        finite = self.update_weights(gradients)
        self.on_weights_updated()
        return self.track(values, finite)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The training step's metrics on views of held-out images, in inference mode; moves the metrics alone."""
        step = _HELD_OUT - tf.cast(self.trackers["loss"].count, tf.int32)  # the same in every evaluation
        views, batch = self.make_views(data, step)
        extra = {name: self.required(batch, name) for name in self.batch_keys}
        loss, metrics, features = self._objective(views, training=False, **extra)
        if self.probe is not None:
            metrics["probe_loss"], metrics["probe_accuracy"] = self.probe_loss(features, batch["label"])
        return self.track({"loss": loss, **metrics})

    def values_and_gradients(
        self, views: Sequence[tf.Tensor], batch: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        """This replica's metrics, and its share of the gradient: what the sum over the replicas takes of it."""
        parts = self.gradient_accumulation_steps
        if parts == 1:
            return self._part_gradients(views, batch)
        sliced = zip(*[tf.split(tensor, parts) for tensor in tf.nest.flatten([list(views), batch])], strict=True)
        means: Any = None
        for part in sliced:
            with tf.control_dependencies(tf.nest.flatten(means) if means else []):  # the activations of one at a time
                found = self._part_gradients(*tf.nest.pack_sequence_as([list(views), batch], part))
                found = tf.nest.map_structure(lambda value: value / parts, found)
            means = tf.nest.map_structure(tf.add, means, found) if means else found
        return means

    def _part_gradients(
        self, views: Sequence[tf.Tensor], batch: dict[str, tf.Tensor]
    ) -> tuple[dict[str, tf.Tensor], list[tf.Tensor | None]]:
        extra = {name: self.required(batch, name) for name in self.batch_keys}
        with tf.GradientTape() as tape:
            loss, metrics, features = self._objective(views, training=True, **extra)
            total = loss
            if self.losses:
                total += tf.add_n([tf.cast(term, total.dtype) for term in self.losses])
            if self.probe is not None:
                probe_loss, probe_accuracy = self.probe_loss(features, batch["label"])
                total += probe_loss
                metrics = {**metrics, "probe_loss": probe_loss, "probe_accuracy": probe_accuracy}
            # Gradients are summed over replicas, and each loss is a mean over its own rows.
            total = self.optimizer.scale_loss(total / distribute.replica_count())
        return {"loss": loss, **metrics}, tape.gradient(total, self.trainable_variables)

    def _objective(self, views: Sequence[tf.Tensor], **how: Any) -> StepOutput:
        """`views_loss`, whose metrics must be those that the method names: others would be lost without a word."""
        found = StepOutput(*self.views_loss(views, **how))
        if set(found.metrics) != set(self.metric_names):
            raise InputError(
                f"the metrics of `views_loss` must be those of `metric_names`, {sorted(self.metric_names)}. Received: "
                f"{sorted(found.metrics)} from {type(self).__name__}."
            )
        return StepOutput(found.loss, dict(found.metrics), found.features)

    def probe_loss(self, features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cross entropy and accuracy of the probe on stopped gradients: the replicas' mean is that of all labelled rows."""
        logits = self.probe(tf.stop_gradient(tf.cast(features, self.probe.compute_dtype)))
        labels = tf.tile(labels, [tf.shape(features)[0] // tf.shape(labels)[0]])
        weight = distribute.row_weights(labels >= 0, logits.dtype)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.maximum(labels, 0), logits=logits)
        right = tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, logits.dtype)
        return tf.reduce_sum(weight * entropy), tf.reduce_sum(weight * right)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "encoder": keras.saving.serialize_keras_object(self.encoder),
            "config": dataclasses.asdict(self.config),
            "num_classes": self.num_classes,
            "augmentation": dataclasses.asdict(self.augmentation),
            "seed": self.seed,
            "global_bn": self.head_options["global_bn"],
            "batch_norm_decay": self.head_options["batch_norm_decay"],
            "total_steps": self.total_steps,
            "micro_batch_size": self.micro_batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation_steps,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ContrastiveModel:
        parts = {
            "encoder": keras.saving.deserialize_keras_object(config["encoder"], custom_objects=custom_objects),
            "config": cls.Config(**config["config"]),
            "augmentation": AugmentConfig(**config["augmentation"]),
        }
        return cls(**{**config, **parts})
