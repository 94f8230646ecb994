"""Monitor: is the encoder any good yet, and is it collapsing?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import distribute, evaluate, losses
from tfcontrastive.encoders.whitening import Whitening, before_whitening, whitening_of


class Monitor(keras.callbacks.Callback):
    """Adds to an epoch's logs what the frozen encoder is worth: kNN, the probe's accuracy, effective rank, spread.

    The memory holds features of training images that are not augmented. Without labels only the geometry is measured.
    A collapsing run (all images map to nearly one point or line) is warned of by name and number.

    An encoder that ends in a `Whitening` is given that of the memory, which the kNN then sees; geometry and probe see what
    enters it. It stays until the next epoch begins, and so for good after the last step.

    Args:
        memory, queries: functions that give a finite dataset of `{"image": [b, H, W, C], "label": [b]}`; queries may be
            None, where there is no held-out split, and the geometry is then measured on the memory.
        num_classes: None for unlabelled data.
        every_epochs: 0: only after the last one.
        last_step: the step at which the run ends.
        k, temperature: of the kNN; at most as many neighbours vote as the memory holds images of its smallest class.
        smallest_rank: an effective rank of the features below this is warned of.
    """

    def __init__(
        self,
        memory: Callable[[], tf.data.Dataset],
        queries: Callable[[], tf.data.Dataset] | None,
        *,
        num_classes: int | None,
        every_epochs: int,
        last_step: int,
        k: int = 200,
        temperature: float = 0.1,
        smallest_rank: float = 2.0,
    ):
        super().__init__()
        self.memory, self.queries = memory, queries
        self.num_classes = num_classes
        self.every_epochs, self.last_step = every_epochs, last_step
        self.k, self.temperature = k, temperature
        self.smallest_rank = smallest_rank
        self.latest: dict[str, float] = {}
        self._extract: evaluate.FeatureExtractor | None = None
        self._whitening: Whitening | None = None
        self._fair_k: int | None = None  # the memory is always the same

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        if self._extract is None:
            self._extract = evaluate.FeatureExtractor(before_whitening(model.encoder))
            self._whitening = whitening_of(model.encoder)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if self._whitening is not None:  # it was of other weights than will be saved next
            self._whitening.reset()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        due = self.every_epochs and (epoch + 1) % self.every_epochs == 0
        last = distribute.step_of(self.model) >= self.last_step
        if not distribute.is_chief():
            if last and self._whitening is not None:  # every worker's encoder ends alike
                self._whitening.fit(self._extract(self.memory())[0])
        elif due or last:
            self.latest = self.measure()
            if logs is not None:
                logs.update(self.latest)

    def measure(self) -> dict[str, float]:
        """The metrics of the encoder as it is now."""
        memory, memory_labels = self._extract(self.memory())
        held_out, labels = memory, memory_labels
        if self.queries is not None:
            held_out, labels = self._extract(self.queries())
        values = {
            "effective_rank": evaluate.effective_rank(held_out),
            "feature_std": losses.embedding_std(held_out),
        }
        if values["effective_rank"] < self.smallest_rank:
            logging.warning(
                "The features are collapsing: their effective rank is %.2f of %d dimensions. Raise the temperature or the "
                "batch size, or lower the learning rate.",
                values["effective_rank"],
                held_out.shape[1],
            )
        known, asked = memory_labels >= 0, labels >= 0  # labels of -1 are none
        if self._whitening is not None:
            self._whitening.fit(memory)
        if self.num_classes is not None and self.queries is not None and known.any() and asked.any():
            memory, memory_labels, held_out, labels = (
                memory[known],
                memory_labels[known],
                held_out[asked],
                labels[asked],
            )
            if self._fair_k is None:
                self._fair_k = evaluate.fair_k(self.k, memory_labels)
            scores = evaluate.knn_scores(
                self._whitened(memory),
                memory_labels,
                self._whitened(held_out),
                num_classes=self.num_classes,
                k=self._fair_k,
                temperature=self.temperature,
            )
            values["knn_top1"] = evaluate.top_k_accuracy(scores, labels, 1)
            values["knn_top5"] = evaluate.top_k_accuracy(scores, labels, 5)
            if self.model.probe is not None:
                guesses = np.argmax(self.model.probe(held_out), axis=1)
                values["probe_eval_accuracy"] = float(np.mean(guesses == labels))
        return {name: float(value) for name, value in values.items()}

    def _whitened(self, features: np.ndarray) -> np.ndarray:
        return features if self._whitening is None else keras.ops.convert_to_numpy(self._whitening(features))
