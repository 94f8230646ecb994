"""ContrastiveModel: the training step that every method shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import augment, distribute
from tfcontrastive.config import AugmentConfig, Checked, InputError
from tfcontrastive.methods.micro_batch import encode_in_micro_batches
from tfcontrastive.methods.replicated_model import ReplicatedModel


class ContrastiveModel(ReplicatedModel):
    """An encoder that learns from random views of unlabelled images.

    A method writes `views_loss`, and `on_weights_updated` where it keeps an average of its weights or a queue. This class
    makes the views, trains the online probe on stopped gradients, divides by the number of replicas and applies the
    gradients:

        loss = views_loss(views) + regularization + cross_entropy(probe(stop_gradient(features)), labels)

    `fit` takes, as one element of its data, any of
      * `{"views": (v1, v2), "seeds": [B, V, 2], "label": [B]}`, as `tfcontrastive.data.train_batches` gives it: cropped
        views, whose colors are still to be changed;
      * images `[B, H, W, C]`, uint8 or float in [0, 1], alone or with integer labels: views are made here, whole;
      * `((v1, v2), labels)`: views that are ready.

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

    Example:
        >>> encoder = tfcontrastive.ResNet(18, width_multiplier=0.25, input_shape=(28, 28, 1))
        >>> model = tfcontrastive.SimCLR(encoder, tfcontrastive.SimCLRConfig(temperature=0.2))
        >>> model.compile(optimizer=tfcontrastive.LARS(0.3))
        >>> model.fit(images, batch_size=256, epochs=10)
    """

    Config: type[Checked]
    metric_names: Sequence[str] = ()
    batch_keys: Sequence[str] = ()  # what `views_loss` takes of the data beside views: "label", "index"
    compares_images = True  # False where the loss of an image depends on no other image of the batch

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        keras.saving.register_keras_serializable("tfcontrastive")(cls)  # so that Keras loads what it saved

    def __init__(
        self,
        encoder: keras.Model,
        config: Checked | None = None,
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
        super().__init__(**kwargs)
        self.config = self.Config() if config is None else config
        if not isinstance(self.config, self.Config):
            raise InputError(f"`config` must be a {self.Config.__name__}. Received: {type(config).__name__}.")
        self.encoder = encoder
        self.input_spec = None
        self.num_features = _num_features(encoder)
        self.augmentation = augmentation or AugmentConfig()
        self.policy = augment.policy_from_config(self.augmentation)
        self.seed = seed
        # Heads compute in float32 under every policy: they cost little, and batch norm after a rounded layer would magnify
        # the rounding wherever images differ by less than their mean.
        self.head_options = {"global_bn": global_bn, "batch_norm_decay": batch_norm_decay, "dtype": "float32"}
        self.total_steps = total_steps
        self.micro_batch_size = micro_batch_size
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
        self.probe = None
        if num_classes is not None:
            self.probe = keras.layers.Dense(num_classes, dtype="float32", name="probe")
            self.probe.build((None, self.num_features))
        self.build_parts()
        names = ("loss", *self.metric_names, *(("probe_loss", "probe_accuracy") if self.probe else ()))
        self.trackers = {name: keras.metrics.Mean(name) for name in names}
        self.built = True

    # What a method writes.

    def build_parts(self) -> None:
        """Makes and builds the heads (and targets, queues) that the method adds to the encoder."""

    def views_loss(
        self, views: Sequence[tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor], tf.Tensor]:
        """The method's objective on this replica's views.

        Args:
            views: V tensors `[B, H, W, C]` in [0, 1]; row i of each is the same image.
            training: whether batch norm uses the batch's own statistics.
            A method that names `batch_keys` takes those too, by name.

        Returns:
            the scalar loss, a mean over this replica's rows; `{name: scalar}` for each of `metric_names`; and the
            features `[n * B, F]` of n of the views, one after another, that the probe is to see.
        """
        raise NotImplementedError(f"{type(self).__name__} must write `views_loss`.")

    def on_weights_updated(self) -> None:
        """Runs after each optimizer step; as it stands, targets follow their online parts."""
        if self.targets:
            self.follow(self.target_momentum())

    def target_momentum(self) -> tf.Tensor | float:
        """The share of its own weights that a target keeps in a step, in [0, 1]."""
        return self.config.target_momentum

    # What every method shares.

    def add_target(self, online: keras.Layer) -> keras.Layer:
        """A copy of a part, first weights included, that no gradient moves: it follows as a moving average."""
        target = type(online).from_config(online.get_config())
        if not target.built:
            target.build_from_config(online.get_build_config())
        for copy, variable in zip(target.variables, online.variables, strict=True):
            copy.assign(variable)
        self.targets.append((target, online))
        return target

    def follow(self, momentum: tf.Tensor | float) -> None:
        """target = momentum * target + (1 - momentum) * online, for weights; each keeps its own batch-norm statistics."""
        pairs = [pair for target, online in self.targets
                 for pair in zip(target.trainable_variables, online.trainable_variables, strict=True)]  # fmt: skip
        momentum = tf.cast(momentum, tf.float32)
        means = [momentum * tf.convert_to_tensor(copy) + (1.0 - momentum) * tf.convert_to_tensor(variable)
                 for copy, variable in pairs]  # fmt: skip
        distribute.assign_all([copy.value for copy, _ in pairs], means)

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        """What the optimizer moves: every weight but the targets'."""
        targets = {id(variable) for target, _ in self.targets for variable in target.variables}
        return [variable for variable in super().trainable_variables if id(variable) not in targets]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Images `[B, H, W, C]` in [0, 1] -> features `[B, F]`: what probes and exports see."""
        return self.encoder(images, training=training)

    def encode(self, network: keras.Model, images: tf.Tensor, training: bool) -> tf.Tensor:
        """Features `[B, F]` of images by the encoder or a copy of it: how `views_loss` calls them.

        With `micro_batch_size`, only so many images are in the network at a time.
        """
        if not self.micro_batch_size or images.shape[0] == self.micro_batch_size:
            return network(images, training=training)
        return encode_in_micro_batches(network, images, self.micro_batch_size, training)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step on this replica's share of the batch; the same for every method."""
        views, batch = self.make_views(data)
        values, gradients = self.values_and_gradients(views, batch)
        finite = self.update_weights(gradients)
        self.on_weights_updated()
        return self.track(values, finite)

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
        extra = {name: self._required(batch, name) for name in self.batch_keys}
        with tf.GradientTape() as tape:
            loss, metrics, features = self.views_loss(views, training=True, **extra)
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

    def probe_loss(self, features: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Cross entropy and accuracy of the probe on stopped gradients: the replicas' mean is that of all labelled rows."""
        logits = self.probe(tf.stop_gradient(tf.cast(features, tf.float32)))
        labels = tf.tile(labels, [tf.shape(features)[0] // tf.shape(labels)[0]])
        weight = distribute.row_weights(labels >= 0)
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=tf.maximum(labels, 0), logits=logits)
        right = tf.cast(tf.argmax(logits, axis=1, output_type=labels.dtype) == labels, tf.float32)
        return tf.reduce_sum(weight * entropy), tf.reduce_sum(weight * right)

    def make_views(self, data: Any) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """The views `[B, H, W, C]` of one element of the data, and the rest of it: "label" `[B]` (-1: none), ..."""
        batch: dict[str, tf.Tensor] = {}
        if isinstance(data, dict):
            views, seeds = list(data["views"]), data.get("seeds")
            batch = {name: value for name, value in data.items() if name not in ("views", "seeds")}
            if seeds is not None:
                pairs = zip(self.policy.views, views, strict=True)
                views = [view(images, seeds[:, i]) for i, (view, images) in enumerate(pairs)]
        else:
            inputs, labels, _ = keras.utils.unpack_x_y_sample_weight(data)
            views = list(inputs) if isinstance(inputs, (tuple, list)) else self.augment_images(inputs)
            if labels is not None:
                batch["label"] = labels
        if "label" not in batch:
            batch["label"] = tf.fill([tf.shape(views[0])[0]], -1)
        batch["label"] = tf.ensure_shape(tf.cast(tf.reshape(batch["label"], [-1]), tf.int32), views[0].shape[:1])
        return views, batch

    def _required(self, batch: dict[str, tf.Tensor], name: str) -> tf.Tensor:
        if name not in batch:
            held = ", as images held in memory have (of one size: see `cache_dataset`)" if name == "index" else ""
            raise InputError(f"{type(self).__name__} needs `{name}` in its data{held}. Received: {sorted(batch)}.")
        return batch[name]

    def augment_images(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Whole views of images `[B, H, W, C]`: crop, flip and colors, a function of (seed, step, row, view) alone."""
        images = tf.image.convert_image_dtype(images, tf.float32)
        rows = tf.range(tf.shape(images)[0]) + distribute.replica_id() * tf.shape(images)[0]
        step = tf.cast(self.optimizer.iterations, tf.int32)
        seeds = augment.row_seeds(self.seed, step, rows, num_views=len(self.policy.views))
        views = []
        for i, (view, geometry) in enumerate(zip(self.policy.views, self.policy.geometries, strict=True)):
            size = tuple(geometry.pixels(length) for length in images.shape[1:3])
            cropped = augment.random_view_geometry(images, seeds[:, i], geometry, size)
            views.append(view(cropped, seeds[:, i]))
        return views

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


def _num_features(encoder: keras.Model) -> int:
    try:
        shape = encoder.output_shape
    except (AttributeError, ValueError):
        shape = None
    if shape is None and encoder.built and getattr(encoder, "_build_shapes_dict", None):
        shape = encoder.compute_output_spec(keras.KerasTensor(next(iter(encoder._build_shapes_dict.values())))).shape
    if not isinstance(shape, tuple) or len(shape) != 2 or shape[-1] is None:
        raise InputError(
            "`encoder` must be a built keras.Model that maps images [B, H, W, C] to features [B, F]. "
            f"Received: {encoder!r} with output shape {shape}; add pooling, or call it once on a batch."
        )
    return shape[-1]
