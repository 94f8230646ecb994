"""The memory bank: an embedding of every training image, by its number."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from tfcontrastive import distribute, losses
from tfcontrastive.config import InputError
from tfcontrastive.methods.queue import unit_rows


def remember(bank: keras.Variable, index: tf.Tensor, embeddings: tf.Tensor, momentum: float) -> None:
    """Moves a bank's entries towards the embeddings of every replica: f = unit(m f + (1 - m) unit(v)).

    Args:
        bank: `[n, D]` of unit rows, the same on every replica.
        index: `[B]`, which entries this replica's are.
        embeddings: `[B, D]`.
        momentum: m, the share that an entry keeps, in [0, 1).
    """
    rows = tf.convert_to_tensor(bank)
    new = tf.math.l2_normalize(tf.stop_gradient(tf.cast(embeddings, rows.dtype)), axis=1)
    new = tf.math.l2_normalize(momentum * tf.gather(rows, index) + (1.0 - momentum) * new, axis=1)
    distribute.scatter_all(bank.value, distribute.all_gather(index), distribute.all_gather(new))


def draw(size: int, count: int, *, images: tf.Tensor, views: int, seed: int, step: tf.Tensor) -> tf.Tensor:
    """Numbers of random entries for each view of this replica's images, anew in each step: `[views * images, count]`.

    With replacement, so that the image's own may be among them. They do not depend on the number of replicas.

    Args:
        size: of the bank.
        count: entries a view.
        images: of this replica.
        views: of an image, which may be a tensor.
        seed: of the run.
        step: of the run.
    """
    everyone = tf.random.stateless_uniform(
        [views, images * distribute.replica_count(), count],
        seed=tf.stack([tf.constant(seed, tf.int64), tf.cast(step, tf.int64)]),
        maxval=size,
        dtype=tf.int32,
    )
    own = distribute.replica_id() * images + tf.range(images)
    return tf.reshape(tf.gather(everyone, own, axis=1), [views * images, count])


def keep_first(kept: keras.Variable, estimate: tf.Tensor, *, first: tf.Tensor, training: bool) -> tf.Tensor:
    """The logarithm of NCE's Z: that of the first batch of all replicas, which is kept.

    Args:
        kept: scalar, the same on every replica.
        estimate: this replica's, of this batch.
        first: whether this is the first step.
        training: whether it is kept.
    """
    # The logarithm of the replicas' mean of Z, which itself overflows at low temperatures.
    estimate = tf.reduce_logsumexp(distribute.all_gather(estimate[None])) - math.log(distribute.replica_count())
    log_normalizer = tf.where(first, estimate, tf.convert_to_tensor(kept))
    if training:
        distribute.assign_all([kept.value], [log_normalizer])
    return log_normalizer


def check_bank_size(size: int, num_examples: int | None) -> None:
    """Raises InputError where a bank cannot hold every training image."""
    if num_examples is not None and size < num_examples:
        raise InputError(f"`bank_size` must hold every training image, {num_examples}. Received: bank_size={size}.")


class MemoryBank(keras.layers.Layer):
    """A unit vector for each training image. The same on every replica, and checkpointed.

    Args:
        size: n >= 1, the images; random directions at first.
        dim: D, their width.
        temperature: T > 0.
        name: of the layer.
        dtype: of the entries.

    Examples:
        >>> bank = MemoryBank(10_000, 128, temperature=0.07)
        >>> bank.remember(tf.constant([3, 4]), tf.ones([2, 128]), momentum=0.5)
        >>> bank.entries().shape
        TensorShape([10000, 128])
    """

    def __init__(self, size: int, dim: int, *, temperature: float, name: str = "bank", dtype: str = "float32"):
        super().__init__(name=name, dtype=dtype)
        self.size, self.temperature = size, temperature
        fixed = {"trainable": False, "autocast": False}
        self.rows = self.add_weight(name="rows", shape=(size, dim), initializer=unit_rows, **fixed)
        self.log_normalizer = self.add_weight(name="log_normalizer", shape=(), initializer="zeros", **fixed)
        self.built = True

    def entries(self) -> tf.Tensor:
        """What it holds, `[n, D]`."""
        return tf.convert_to_tensor(self.rows)

    def draw(self, count: int, *, images: tf.Tensor, views: int, seed: int, step: tf.Tensor) -> tf.Tensor:
        """Numbers of random entries for each view of this replica's images, see `draw`: `[views * images, count]`."""
        return draw(self.size, count, images=images, views=views, seed=seed, step=step)

    def normalizer(self, embeddings: tf.Tensor, noise: tf.Tensor, *, first: tf.Tensor, training: bool) -> tf.Tensor:
        """The logarithm of NCE's Z: estimated on the first batch of all replicas, and kept.

        Args:
            embeddings: `[B, D]` of this replica.
            noise: `[B, m]`, from `draw`.
            first: whether this is the first step.
            training: whether it is kept.
        """
        estimate = losses.instance_log_normalizer(embeddings, self.entries(), noise, temperature=self.temperature)
        return keep_first(self.log_normalizer, estimate, first=first, training=training)

    def loss(
        self, embeddings: tf.Tensor, index: tf.Tensor, noise: tf.Tensor | None, log_normalizer: tf.Tensor | None
    ) -> tf.Tensor:
        """How far embeddings `[B, D]` are from the entries of their images, `index` `[B]`, and near to others.

        Args:
            embeddings, index: of this replica.
            noise: `[B, m]`, from `draw`: NCE, or InfoNCE; None: the softmax over all entries.
            log_normalizer: of NCE; None: InfoNCE.
        """
        entries, temperature = self.entries(), self.temperature
        if noise is None:
            return losses.instance_softmax(embeddings, entries, index, temperature=temperature)
        if log_normalizer is None:
            return losses.instance_info_nce(embeddings, entries, index, noise, temperature=temperature)
        return losses.instance_nce(
            embeddings, entries, index, noise, temperature=temperature, log_normalizer=log_normalizer
        )

    def remember(self, index: tf.Tensor, embeddings: tf.Tensor, *, momentum: float) -> None:
        """Moves the entries of every replica's images: f = unit(momentum f + (1 - momentum) unit(v)).

        Args:
            index: `[B]`, the numbers of this replica's images.
            embeddings: `[B, D]`, v.
            momentum: the share that an entry keeps, in [0, 1).
        """
        remember(self.rows, index, embeddings, momentum)
