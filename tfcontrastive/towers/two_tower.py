"""TwoTower: two encoders, of anything, that learn to agree on pairs."""

from __future__ import annotations

import dataclasses
import functools
import numbers
import os
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfcontrastive import augment, distribute, losses
from tfcontrastive.config import InputError
from tfcontrastive.data import checks
from tfcontrastive.encoders import MLP
from tfcontrastive.losses.common import l2_normalize
from tfcontrastive.methods.micro_batch import encode_in_micro_batches
from tfcontrastive.models.checkpoint import restore_weights
from tfcontrastive.models.checkpoint_files import at_step, newest
from tfcontrastive.models.replicated_model import ReplicatedModel, batch_sizes
from tfcontrastive.towers import beside
from tfcontrastive.towers.batches import KEY, QUERY, Pairs, alone, in_tensors, stacked, unpack
from tfcontrastive.towers.config import WITH_HARD_NEGATIVES, TwoTowerConfig
from tfcontrastive.towers.features import features_of
from tfcontrastive.towers.seeded_call import random_states, seeded_call


@keras.saving.register_keras_serializable("tfcontrastive")
class TwoTower(ReplicatedModel):
    r"""Two encoders that map the two sides of a pair to vectors, close where the pair is one.

    A side is an encoder f and a head h. With queries $q_i = h(f(query_i))$ and keys $k_j$ alike, scaled to unit length
    unless vectors are compared as they are, what a loss sees is the logits

    $$ s_{ij} = \langle q_i, k_j \rangle / T + b $$

    of all queries of the batch with all of its keys (and hard negatives), on all replicas, with gradient on both sides.
    Learned are $\log 1/T$, so that T stays positive, and b, which siglip alone has. A learned T is brought back to its
    bounds after each step.

    `fit` and `evaluate` take batches `{"query": ..., "key": ..., "hard_negative": ...}`, as a `tf.data.Dataset` or as
    arrays of all rows. A side is whatever its encoder takes: images, strings, token ids, a dictionary of tensors. Hard
    negatives, which sim_cse and dpr take, go through the key's tower: one a query, `[B, ...]`, or with dpr N of them,
    `[B, N, ...]`. sim_cse with one tower also takes `{"query": ...}`: a text is its own key, and dropout tells the two
    passes apart.

    Random layers draw from (seed, step, replica, side): a run that resumes goes on as it would have.

    Args:
        query_encoder: a built `keras.Model` of one side, to features `[B, F]`.
        key_encoder: of the other side; None, or the same object: one tower and one head for both.
        config: the loss and its settings; default: CLIP's.
        seed: of dropout.
        micro_batch_size: rows that a tower holds the activations of, of a batch larger than memory; 0: all of its batch.
            The gradient stays that of the whole batch, but batch norm takes the statistics of a micro batch, and what
            layers add to the loss does not count.

    Raises:
        InputError: where an encoder does not give vectors of a known width, or the two widths differ without heads.

    Examples:
        >>> images = keras.Sequential([keras.Input([8, 8, 1]), keras.layers.Flatten()])
        >>> numbers = keras.Sequential([keras.Input([3]), keras.layers.Dense(16)])
        >>> model = tfcontrastive.TwoTower(images, numbers, tfcontrastive.TwoTowerConfig(proj_out_dim=8))
        >>> model.compile(optimizer="adam")
        >>> pairs = {"query": np.random.rand(32, 8, 8, 1), "key": np.random.rand(32, 3)}
        >>> history = model.fit(pairs, batch_size=16, verbose=0)
        >>> model.query_embeddings(pairs["query"]).shape
        (32, 8)

    Source: Radford et al. (CLIP), arXiv 2103.00020; Zhai et al. (SigLIP), arXiv 2303.15343; Gao, Yao and Chen (SimCSE),
    arXiv 2104.08821; Karpukhin et al. (DPR), arXiv 2004.04906.
    """

    def __init__(
        self,
        query_encoder: keras.Model,
        key_encoder: keras.Model | None = None,
        config: TwoTowerConfig | None = None,
        *,
        seed: int = 0,
        micro_batch_size: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        config = TwoTowerConfig() if config is None else config
        if not isinstance(config, TwoTowerConfig):
            raise InputError(f"`config` must be a TwoTowerConfig. Received: {type(config).__name__}.")
        if not (isinstance(seed, (int, numbers.Integral)) and 0 <= seed < 2**32):
            raise InputError(f"`seed` must be a whole number in 0..{2**32 - 1}. Received: seed={seed!r}.")
        self.autocast = False  # encoders cast what they take
        self.config = config
        self.settings = config.settled()
        if not (isinstance(micro_batch_size, (int, numbers.Integral)) and micro_batch_size >= 0):
            raise InputError(f"`micro_batch_size` must be a whole number >= 0. Received: {micro_batch_size!r}.")
        self.seed = int(seed)
        self.micro_batch_size = int(micro_batch_size)
        self.shared = key_encoder is None or key_encoder is query_encoder
        self.query_encoder = query_encoder
        self.key_encoder = query_encoder if key_encoder is None else key_encoder
        found = features_of("query_encoder", query_encoder), features_of("key_encoder", self.key_encoder)
        self.head_dtype = "float64" if any(dtype == "float64" for _, dtype in found) else "float32"
        self.query_head = self._make_head(found[0][0], found[0][0], "query_head")
        self.key_head = self.query_head if self.shared else self._make_head(found[1][0], found[0][0], "key_head")
        compared = self.settings.head != "none" and self.settings.embed_head
        if not compared and found[0][0] != found[1][0]:
            raise InputError(
                "`key_encoder` must give vectors of the query's width where there are no heads to do so. "
                f"Received: {found[1][0]} and {found[0][0]}."
            )
        self.embedding_dim = (self.settings.proj_out_dim or found[0][0]) if compared else found[0][0]
        self._make_scale()
        self.trackers = {name: keras.metrics.Mean(name, dtype=self.head_dtype) for name in ("loss", *self.metric_names)}
        self.built = True

    def _make_head(self, width: int, out: int, name: str) -> keras.layers.Layer | None:
        kind, options = self.settings.head, dict[str, Any](name=name, dtype=self.head_dtype)
        out = self.settings.proj_out_dim or out
        if kind == "none":
            return None
        head: keras.layers.Layer
        if kind == "mlp":
            head = MLP((self.settings.hidden_dim or width, out), hidden_norm=False, **options)
        elif kind == "tanh":
            head = keras.layers.Dense(out, activation="tanh", **options)
        else:
            small = keras.initializers.RandomNormal(stddev=width**-0.5)
            head = keras.layers.Dense(out, use_bias=False, kernel_initializer=small, **options)
        head.build((None, width))
        return head

    def _make_scale(self) -> None:
        """log 1 / T, and the bias where there is one: variables, whether or not they are learned."""
        constant, learned = keras.initializers.Constant, self.settings.train_temperature
        start = {"log_scale": -np.log(self.settings.temperature), "logit_bias": self.settings.logit_bias}
        for name, value in start.items():
            made = None
            if value is not None:
                options = {"shape": (), "dtype": self.head_dtype, "trainable": learned, "name": name}
                made = self.add_weight(initializer=constant(value), **options)
            setattr(self, name, made)

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What is tracked beside the loss."""
        told: tuple[str, ...] = (
            ("contrast_acc",) if self.settings.loss == "siglip" else ("contrast_acc", "contrast_entropy")
        )
        if self.settings.train_temperature:
            told += ("temperature",) if self.logit_bias is None else ("temperature", "logit_bias")
        return told

    @property
    def temperature(self) -> tf.Tensor:
        """T, a scalar."""
        return tf.exp(-tf.convert_to_tensor(self.log_scale))

    def compile(self, optimizer: Any = "rmsprop", *, jit_compile: Any = "auto", **kwargs: Any) -> None:
        """As `ReplicatedModel.compile`; "auto" leaves XLA off for towers that it cannot compile, of strings say."""
        if jit_compile == "auto" and not all(layer.supports_jit for layer in self._flatten_layers()):
            jit_compile = False
        super().compile(optimizer, jit_compile=jit_compile, **kwargs)

    def query(self, inputs: Any) -> tf.Tensor:
        """Embeddings `[B, D]` of queries, of unit length where directions are compared."""
        return self.embedding(self.query_encoder(inputs, training=False), self.query_head)

    def key(self, inputs: Any) -> tf.Tensor:
        """Embeddings `[B, D]` of keys, of unit length where directions are compared."""
        return self.embedding(self.key_encoder(inputs, training=False), self.key_head)

    def logits(self, queries: tf.Tensor, keys: tf.Tensor) -> tf.Tensor:
        """The logits `[M, K]` of embeddings `[M, D]` and `[K, D]`: products over the temperature, plus siglip's bias."""
        products = tf.matmul(queries, keys, transpose_b=True) / tf.cast(self.temperature, queries.dtype)
        return products if self.logit_bias is None else products + tf.cast(self.logit_bias, queries.dtype)

    def call(self, inputs: dict[str, Any], training: bool = False) -> dict[str, tf.Tensor]:
        """`{"query": ..., "key": ...}`, or one of them -> their embeddings, `[B, D]` each, in inference mode."""
        del training
        sides = {QUERY: self.query, KEY: self.key}
        return {name: side(inputs[name]) for name, side in sides.items() if name in inputs}

    def query_embeddings(self, inputs: Any, batch_size: int = 256) -> np.ndarray:
        """Embeddings `[N, D]` of all queries of an array, list, dictionary of arrays, or data set of batches."""
        return self._all(QUERY, inputs, batch_size)

    def key_embeddings(self, inputs: Any, batch_size: int = 256) -> np.ndarray:
        """Embeddings `[N, D]` of all keys of an array, list, dictionary of arrays, or data set of batches."""
        return self._all(KEY, inputs, batch_size)

    def fit(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, for batches of pairs or arrays of all of them.

        Raises:
            InputError: data of another form, and batches that replicas would not share evenly.
        """
        if isinstance(x, tf.data.Dataset):
            kwargs.setdefault("shuffle", False)  # it has an order of its own; Keras would warn of its default
        if isinstance(kwargs.get("validation_data"), dict):
            kwargs["validation_data"] = in_tensors(kwargs["validation_data"])
        with checks.in_one_line():
            return super().fit(_pairs_alone(x, y), None, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`: the loss and metrics of held-out pairs, among those of their batch.

        Raises:
            InputError: as `fit`.
        """
        with checks.in_one_line():
            return super().evaluate(_pairs_alone(x, y), None, *args, **kwargs)

    def check_batches(self, x: Any, batch_size: int | None, part: float = 0.0) -> None:
        super().check_batches(x, batch_size, part)
        if 1 in batch_sizes(x, batch_size, part):
            raise InputError(
                "pairs are told from one another: a batch must hold 2 or more. Received: a batch of 1. "
                "Take another `batch_size`, or `dataset.batch(size, drop_remainder=True)`."
            )

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step on this replica's share of the batch."""
        pairs = self._pairs(data)
        with tf.GradientTape() as tape:
            queries, keys, more = self._encoded(pairs)
            loss, metrics = self._loss(queries, keys, pairs)
            total = loss + tf.add_n(
                [tf.zeros_like(loss), *[tf.cast(term, loss.dtype) for term in (*self.losses, *more)]]
            )
            # Gradients are summed over replicas, and each loss is a mean over its own rows.
            total = self.optimizer.scale_loss(total / distribute.replica_count())
        gradients = tape.gradient(total, self.trainable_variables)
        # Rows of an embedding's gradient, of which a token may have several, as the whole: clipping asks for its norm.
        dense = [tf.convert_to_tensor(g) if isinstance(g, tf.IndexedSlices) else g for g in gradients]
        finite = self.update_weights(dense)
        self._bound_temperature()
        return self.track({"loss": loss, **metrics}, finite)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """The training step's metrics on held-out pairs, in inference mode; moves the metrics alone."""
        pairs = self._pairs(data)
        queries = self._head(self.query_encoder(pairs.queries, training=False), self.query_head)
        keys = self._head(self.key_encoder(stacked(pairs.keys, pairs.hard_negatives), training=False), self.key_head)
        loss, metrics = self._loss(queries, keys, pairs)
        return self.track({"loss": loss, **metrics})

    def predict_step(self, data: Any) -> dict[str, tf.Tensor]:
        return self(alone(data))

    def _pairs(self, data: Any) -> Pairs:
        # Without dropout a text would meet itself, which teaches nothing.
        own = self.shared and self.settings.loss == "sim_cse" and bool(random_states(self.query_encoder))
        return unpack(data, key_is_query=own, hard_negatives=self.settings.loss in WITH_HARD_NEGATIVES)

    def _encoded(self, pairs: Pairs) -> tuple[tf.Tensor, tf.Tensor, list[tf.Tensor]]:
        """What is compared of queries, and of keys with hard negatives behind them, in training; the losses of layers."""
        sides = [
            (self.query_encoder, self.query_head, pairs.queries),
            (self.key_encoder, self.key_head, stacked(pairs.keys, pairs.hard_negatives)),
        ]
        counts = [len(random_states(encoder)) for encoder, _, _ in sides]
        step, replica = tf.cast(self.optimizer.iterations, tf.int32), tf.reshape(distribute.replica_id(), [1])
        seeds = augment.row_seeds(self.seed, step, replica, num_views=sum(counts) or 1)[0]
        seeds = tf.ensure_shape(seeds, [sum(counts) or 1, 2])
        compared, more = [], []
        for (encoder, head, inputs), own in zip(
            sides, (seeds[: counts[0]], seeds[counts[0] : sum(counts)]), strict=True
        ):
            features, terms = self._in_training(encoder, inputs, own)
            compared.append(self._head(features, head))
            more += terms
        return compared[0], compared[1], more

    def _in_training(self, encoder: keras.Model, inputs: Any, seeds: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        size, rows = self.micro_batch_size, tf.nest.flatten(inputs)[0].shape[0]
        if not size or rows == size:
            return seeded_call(encoder, inputs, seeds)
        if rows is not None and rows % size:
            raise InputError(
                f"`micro_batch_size` must divide the {rows} rows of each tower on a replica. Received: {size}."
            )
        given = list(zip(random_states(encoder), tf.unstack(seeds), strict=True))
        return encode_in_micro_batches(encoder, inputs, size, True, given), []

    def _head(self, features: tf.Tensor, head: keras.layers.Layer | None) -> tf.Tensor:
        return tf.cast(features, self.head_dtype) if head is None else head(tf.cast(features, self.head_dtype))

    def embedding(self, features: tf.Tensor, head: keras.layers.Layer | None) -> tf.Tensor:
        """The embeddings of a tower's features, through its head where that is embedded."""
        compared = self._head(features, head if self.settings.embed_head else None)
        return l2_normalize(compared) if self.settings.normalize else compared

    def _loss(self, queries: tf.Tensor, keys: tf.Tensor, pairs: Pairs) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        count = queries.shape[0] or tf.shape(queries)[0]
        hard = None if pairs.hard_negatives is None else keys[count:]
        keys, temperature, settings = keys[:count], self.temperature, self.settings
        if settings.loss == "clip":
            loss, metrics = losses.clip(queries, keys, temperature=temperature, with_metrics=True)
        elif settings.loss == "siglip":
            scale, bias = 1.0 / temperature, tf.convert_to_tensor(self.logit_bias)
            loss, metrics = losses.siglip(queries, keys, scale=scale, bias=bias, with_metrics=True)
        elif settings.loss == "sim_cse":
            loss, metrics = losses.sim_cse(
                queries,
                keys,
                temperature=temperature,
                hard_negatives=hard,
                hard_negative_weight=settings.hard_negative_weight,
                with_metrics=True,
            )
        else:
            if settings.normalize:
                queries, keys, hard = (None if rows is None else l2_normalize(rows) for rows in (queries, keys, hard))
            loss, metrics = losses.dpr(queries / temperature, keys, hard_negatives=hard, with_metrics=True)
        learned = {"temperature": temperature, "logit_bias": self.logit_bias}
        return loss, {name: metrics[name] if name in metrics else learned[name] for name in self.metric_names}

    def _bound_temperature(self) -> None:
        low, high = self.settings.min_temperature, self.settings.max_temperature
        if not self.settings.train_temperature or (low is None and high is None):
            return
        value = tf.convert_to_tensor(self.log_scale)
        if high is not None:
            value = tf.maximum(value, tf.cast(-np.log(high), value.dtype))
        if low is not None:
            value = tf.minimum(value, tf.cast(-np.log(low), value.dtype))
        distribute.assign_all([self.log_scale.value], [value])

    def _all(self, name: str, inputs: Any, batch_size: int) -> np.ndarray:
        if isinstance(inputs, tf.data.Dataset):
            return self.predict(inputs.map(lambda *x: {name: x[0] if len(x) == 1 else x}), verbose=0)[name]
        return self.predict({name: in_tensors(inputs)}, batch_size=batch_size, verbose=0)[name]

    def write_beside(self, directory: str) -> None:
        beside.write(self, directory)

    def check_beside(self, directory: str) -> None:
        beside.check(self, directory)

    @classmethod
    def from_checkpoints(
        cls, directory: str | os.PathLike, *, step: int | None = None, custom_objects: dict[str, Any] | None = None
    ) -> TwoTower:
        """The towers of a directory that `callbacks.Checkpoints` wrote, with their vocabularies and without the texts.

        To go on with the training, compile it as before and give the callback to `fit`, as `restore` of it tells.

        Args:
            directory: of the checkpoints.
            step: of one of them; None takes the newest.
            custom_objects: {name: class} of layers of your own that are not registered with Keras.

        Returns:
            A model that is not compiled.

        Raises:
            InputError: there is no checkpoint, or it was written without the layers.

        Examples:
            >>> tower = tfcontrastive.encoders.TextEncoder(["red", "shoe"], width=8, depth=1)
            >>> model = tfcontrastive.TwoTower(tower, config=tfcontrastive.TwoTowerConfig("sim_cse"))
            >>> model.compile(tfcontrastive.optimizers.build("adamw", 0.01))
            >>> saved = tfcontrastive.callbacks.Checkpoints("towers_run", every_steps=1, last_step=1)
            >>> history = model.fit({"query": ["a red shoe", "shoe"]}, verbose=0, callbacks=[saved])
            >>> tfcontrastive.TwoTower.from_checkpoints("towers_run").query(tf.constant(["red shoes"])).shape
            TensorShape([1, 8])
        """
        directory = os.fspath(directory)
        path = newest(directory) if step is None else at_step(directory, step)
        if path is None:
            raise InputError(f"`directory` must hold a checkpoint. Received: {directory!r}.")
        config, words = beside.rebuilt_config(directory)
        with keras.saving.custom_object_scope(custom_objects or {}):
            model = cls.from_config(config)
        beside.give_words(model, words)
        restore_weights(path, model)
        return model

    def get_config(self) -> dict[str, Any]:
        key = None if self.shared else keras.saving.serialize_keras_object(self.key_encoder)
        return {
            **super().get_config(),
            "query_encoder": keras.saving.serialize_keras_object(self.query_encoder),
            "key_encoder": key,
            "config": dataclasses.asdict(self.config),
            "seed": self.seed,
            "micro_batch_size": self.micro_batch_size,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> TwoTower:
        of = functools.partial(keras.saving.deserialize_keras_object, custom_objects=custom_objects)
        encoders = {name: config[name] and of(config[name]) for name in ("query_encoder", "key_encoder")}
        return cls(**{**config, **encoders, "config": TwoTowerConfig(**config["config"])})


def _pairs_alone(x: Any, y: Any) -> Any:
    if y is not None:
        raise InputError(f'`y` must be None: `x` holds both sides, as "{QUERY}" and "{KEY}". Received: y.')
    return in_tensors(x)
