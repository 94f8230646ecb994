"""What a `train_step` of this package needs to run alike on any number of replicas and devices."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive import distribute
from tfcontrastive.config import InputError

_MIRRORED = (tf.distribute.MirroredStrategy, tf.distribute.MultiWorkerMirroredStrategy)


class ReplicatedModel(keras.Model):
    """A `keras.Model` with a `train_step` of its own: a subclass builds every part in `__init__` and sets `trackers`.

    Examples:
        >>> class Mine(ReplicatedModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.trackers = {"loss": keras.metrics.Mean("loss")}
        ...         self.built = True
    """

    trackers: dict[str, keras.metrics.Mean]

    def compile(self, optimizer: Any = "rmsprop", *, jit_compile: Any = "auto", **kwargs: Any) -> None:
        """As `keras.Model.compile`; "auto" is XLA on TPUs and on a GPU without a strategy, and none elsewhere.

        On the CPU its convolutions are slower. Under `MirroredStrategy` and `MultiWorkerMirroredStrategy` Keras would
        compile the step of all replicas into one program of one device, which can neither reach the variables of the
        others nor enter a cross-replica context.

        Raises:
            InputError: losses or metrics, which the model has of its own; XLA under one of these strategies.
        """
        for name in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.get(name):
                raise InputError(
                    f"`{name}` must be None: {type(self).__name__} has a loss and metrics of its own. "
                    f"Received: {name}={kwargs[name]!r}."
                )
        mirrored = isinstance(self.distribute_strategy, _MIRRORED)
        if jit_compile == "auto":
            on_tpu, on_gpu = (bool(tf.config.list_logical_devices(kind)) for kind in ("TPU", "GPU"))
            jit_compile = (on_tpu or on_gpu) and not mirrored
        elif jit_compile and mirrored:
            raise InputError(
                "`jit_compile` must be False or 'auto' under MirroredStrategy and MultiWorkerMirroredStrategy, whose steps "
                f"Keras cannot compile. Received: jit_compile={jit_compile!r} on "
                f"{self.distribute_strategy.num_replicas_in_sync} replicas."
            )
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

    def write_beside(self, directory: str) -> None:
        """Writes what else the checkpoints of a directory need to be read by themselves; here nothing."""

    def check_beside(self, directory: str) -> None:
        """Raises InputError where a directory's checkpoints are of a model whose variables mean something else."""

    def check_batches(self, x: Any, batch_size: int | None, part: float = 0.0) -> None:
        """Raises InputError where several replicas would not share the batches of the data evenly.

        Args:
            x: the data, as `fit` takes it.
            batch_size: of arrays.
            part: of arrays that is held out, in [0, 1).
        """
        replicas = self.distribute_strategy.num_replicas_in_sync
        uneven = [size for size in batch_sizes(x, batch_size, part) if size is None or size % replicas]
        if replicas > 1 and uneven:
            raise InputError(
                f"`x` must come in batches that {replicas} replicas share evenly, such as those of "
                f"`dataset.batch(size, drop_remainder=True)`. Received: a batch of {uneven[0] or 'unknown size'}."
            )

    def update_weights(self, gradients: Sequence[tf.Tensor | None]) -> tf.Tensor:
        """One step of the optimizer, from each replica's share of the gradient of `trainable_variables`.

        Shares are summed before anything looks at them: the norm of one, or an overflow in one, says nothing of the sum.
        A gradient whose norm is not a finite number moves nothing: weights that took it would be lost. (A loss scale
        meets such gradients on its way, and skips them itself.)

        Returns:
            whether the gradient's norm is finite, for `track`; the same on every replica.
        """
        gradients, variables = distribute.all_sum(gradients), self.trainable_variables
        places = [place for place, gradient in enumerate(gradients) if gradient is not None]
        if not places or isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return tf.constant(True)

        def apply(given: list[tf.Tensor]) -> None:
            held = dict(zip(places, given, strict=True))
            self.optimizer.apply_gradients([(held.get(place), variable) for place, variable in enumerate(variables)])

        given = [gradients[place] for place in places]
        finite = _has_finite_norm(given)
        distribute.apply_if(finite, apply, given)
        return finite

    def track(self, values: dict[str, tf.Tensor], finite: tf.Tensor | bool = True) -> dict[str, tf.Tensor]:
        """Means over the epoch so far of values averaged over the replicas.

        Args:
            values: scalars, one for each of `trackers`.
            finite: what `update_weights` returned; where it is False, the loss is NaN from this step on.
        """
        dtype = next(iter(self.trackers.values())).dtype
        values = {name: tf.cast(value, dtype) for name, value in values.items()}
        if "loss" in values:
            values["loss"] = tf.where(finite, values["loss"], tf.constant(float("nan"), dtype))
        means = distribute.all_mean(tf.stack([values[name] for name in self.trackers]))
        for tracker, value in zip(self.trackers.values(), tf.unstack(means), strict=True):
            tracker.update_state(value)
        return {name: distribute.as_log(tracker.result()) for name, tracker in self.trackers.items()}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self.trackers.values()) if hasattr(self, "trackers") else []

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Every part is built in `__init__`; Keras' own symbolic build cannot reduce the views of several workers.
        return


def _has_finite_norm(gradients: Sequence[tf.Tensor]) -> tf.Tensor:
    """Whether the norm over all gradients is finite: one pass over them, one scalar."""
    dense = [gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient for gradient in gradients]
    return tf.math.is_finite(tf.add_n([tf.cast(tf.nn.l2_loss(gradient), tf.float32) for gradient in dense]))


def batch_sizes(x: Any, batch_size: int | None, part: float) -> list[int | None]:
    """The sizes of the batches that `fit` makes of its data, None where they are not known before."""
    if isinstance(x, tf.data.Dataset):
        return [spec.shape[0] if spec.shape.rank else None for spec in tf.nest.flatten(x.element_spec)]
    arrays = [array for array in tf.nest.flatten(x) if hasattr(array, "shape") and len(array.shape)]
    if not arrays:  # a generator, say: its batches are only known when they come
        return []
    size, count = batch_size or 32, arrays[0].shape[0]
    kept = math.floor(count * (1.0 - part))  # as Keras splits
    return [of for rows in (kept, count - kept) for of in (min(size, rows), rows % size)]
