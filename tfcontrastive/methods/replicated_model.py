"""What a `train_step` of this package needs to run alike on any number of replicas and devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError


class ReplicatedModel(keras.Model):
    """A `keras.Model` with a `train_step` of its own: a subclass builds every part in `__init__` and sets `trackers`.

    Example:
        >>> class Mine(ReplicatedModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.trackers = {"loss": keras.metrics.Mean("loss")}
        ...         self.built = True
    """

    trackers: dict[str, keras.metrics.Mean]

    def compile(self, optimizer: Any = "rmsprop", *, jit_compile: Any = "auto", **kwargs: Any) -> None:
        """As `keras.Model.compile`, with XLA off on the CPU unless asked for: its convolutions are slower there.

        Raises:
            InputError: losses or metrics, which the model has of its own.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name):
                raise InputError(
                    f"`{name}` must be None: {type(self).__name__} has a loss and metrics of its own. "
                    f"Received: {name}={kwargs[name]!r}."
                )
        if jit_compile == "auto":
            jit_compile = bool(tf.config.list_logical_devices("TPU") or tf.config.list_logical_devices("GPU"))
        super().compile(optimizer=optimizer, jit_compile=jit_compile, **kwargs)
        distribute.takes_sums(self.optimizer)
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        self.compile(**keras.saving.deserialize_keras_object(config))

    def fit(self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.fit`, for batches that the replicas share evenly.

        Raises:
            InputError: on several replicas, batches that they would not share evenly: each replica's mean would count as
                much as another's of more images.
        """
        held_out = kwargs.get("validation_data")
        if held_out is None:
            self.check_batches(x, batch_size, part=kwargs.get("validation_split") or 0.0)
        else:
            self.check_batches(x, batch_size)
            self.check_batches(held_out, kwargs.get("validation_batch_size") or batch_size)
        return super().fit(x, y, batch_size, *args, **kwargs)

    def evaluate(self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.evaluate`, for batches that the replicas share evenly.

        Raises:
            InputError: as `fit`.
        """
        if not kwargs.get("_use_cached_eval_dataset"):  # in `fit`, which has checked them
            self.check_batches(x, batch_size)
        return super().evaluate(x, y, batch_size, *args, **kwargs)

    def check_batches(self, x: Any, batch_size: int | None, part: float = 0.0) -> None:
        """Raises InputError where several replicas would not share the batches of the data evenly.

        Args:
            x: the data, as `fit` takes it.
            batch_size: of arrays.
            part: of arrays that is held out, in [0, 1).
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        uneven = [size for size in _batch_sizes(x, batch_size, part) if size is None or size % replicas]
        if replicas > 1 and uneven:
            raise InputError(
                f"`x` must come in batches that {replicas} replicas share evenly, such as those of "
                f"`dataset.batch(size, drop_remainder=True)`. Received: a batch of {uneven[0] or 'unknown size'}."
            )

    def update_weights(self, gradients: Sequence[tf.Tensor | None]) -> None:
        """One step of the optimizer, from each replica's share of the gradient of `trainable_variables`.

        Shares are summed before anything looks at them: the norm of one, or an overflow in one, says nothing of the sum.
        """
        gradients = distribute.all_sum(gradients)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

    def track(self, values: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Means over the epoch so far of values averaged over the replicas."""
        dtype = next(iter(self.trackers.values())).dtype
        means = distribute.all_mean(tf.stack([tf.cast(values[name], dtype) for name in self.trackers]))
        for tracker, value in zip(self.trackers.values(), tf.unstack(means), strict=True):
            tracker.update_state(value)
        return {name: distribute.as_log(tracker.result()) for name, tracker in self.trackers.items()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.trackers.values()) if hasattr(self, "trackers") else []

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Every part is built in `__init__`; Keras' own symbolic build cannot reduce the views of several workers.
        return


def _batch_sizes(x: Any, batch_size: int | None, part: float) -> list[int | None]:
    """The sizes of the batches that `fit` makes of its data, None where they are not known before."""
    if isinstance(x, tf.data.Dataset):
        return [spec.shape[0] if spec.shape.rank else None for spec in tf.nest.flatten(x.element_spec)]
    arrays = [array for array in tf.nest.flatten(x) if hasattr(array, "shape") and len(array.shape)]
    if not arrays:  # a generator, say: its batches are only known when they come
        return []
    size, count = batch_size or 32, arrays[0].shape[0]
    kept = math.floor(count * (1.0 - part))  # as Keras splits
    return [of for rows in (kept, count - kept) for of in (min(size, rows), rows % size)]
