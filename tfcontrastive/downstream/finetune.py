"""Fine-tuning: a trained encoder and few labels become a classifier."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import augment, data, distribute, evaluate
from tfcontrastive.callbacks import Accuracy, Checkpoints
from tfcontrastive.config import Checked, DataConfig, InputError, differences
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.encoders.rebuild import copy_weights, head_start, rebuild
from tfcontrastive.evaluate.checks import check_classes, checked_labels
from tfcontrastive.models.classifier import Classifier, Objective
from tfcontrastive.models.objectives import CrossEntropy
from tfcontrastive.planning.cost import check_memory, estimate_classifier
from tfcontrastive.pretrained.trained import Trained, load_trained
from tfcontrastive.runs.agreement import check_same_data
from tfcontrastive.runs.builders import build_encoder, check_network, compile_model, precision
from tfcontrastive.runs.model_dir import ModelDir, write_json
from tfcontrastive.runs.pretrain import HOLD_OUT, claim, eval_split, fit, load_source, make_plan, make_strategy
from tfcontrastive.runs.settle import settled

SUBSET = "label_subset.json"
"""Where a run keeps which images it took with labels."""

_WITH_HEAD = "_with_head"  # ends the name of a trunk of an encoder and layers of its projection head


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """A trained classifier, its accuracies after the last step (`eval_top1`, `eval_top5`, ...), its data, and how
    its images are cropped and resized."""

    config: Checked
    model: Classifier
    metrics: dict[str, float]
    source: data.Source
    seconds: float
    preprocessing: data.Preprocessing


def finetune(
    config: FinetuneConfig,
    *,
    overwrite: bool = False,
    allow_config_change: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    source: data.Source | None = None,
    start: Trained | None = None,
    weights: bool = True,
) -> Finetuned:
    """Fine-tunes an encoder on labels, or goes on where a run in the same `model_dir` stopped.

    The loss is `CrossEntropy`; see `Classifier` and `freeze` for what is trained. Writes metrics.json: the accuracies on
    the held-out split after the last step, never the best of several.

    Args:
        config: the run; `loop.model_dir` is needed.
        overwrite, allow_config_change: what to do with another run's directory, see `ModelDir.claim`.
        callbacks: more Keras callbacks, called last.
        source: labelled images; default: the config's.
        start: a loaded encoder to start from, instead of the config's; it is left as it is.
        weights: False takes its architecture alone, without its projection head: a training from scratch.

    Raises:
        InputError: anything in the config, the weights, the data or the directory that cannot work (weights that do not
            fit the network are listed), and a loss that is not finite.

    Examples:
        >>> config = FinetuneConfig(checkpoint="runs/a", encoder=None, label_fraction=0.1,
        ...                         data=DataConfig(dataset="embedded", image_size=28),
        ...                         loop=RunConfig(model_dir="runs/a_10pct", train_batch_size=128, train_epochs=30))
        >>> finetune(config).metrics["eval_top1"]

    Source: Chen et al., arXiv 2006.10029, section 3; arXiv 2002.05709, section 4 and appendix B.5.
    """
    objective = CrossEntropy(config.label_smoothing)
    job = Job(config, source=source, start=start, weights=weights, objective=lambda _: objective)
    return job.run(overwrite=overwrite, allow_config_change=allow_config_change, callbacks=callbacks)


def evaluate_classifier_run(config: FinetuneConfig) -> dict[str, float]:
    """Metrics of the newest checkpoint of a run, without training; written to its metrics.json.

    Raises:
        InputError: where `model_dir` holds no run of this config, or no checkpoint.
    """
    return Job(config, objective=lambda _: CrossEntropy(config.label_smoothing)).evaluate()


def encoder_of(trunk: keras.Model) -> keras.Model:
    """The encoder of a classifier's trunk, without what the trunk has kept of a projection head."""
    return trunk.layers[1] if trunk.name.endswith(_WITH_HEAD) else trunk


class Job:
    """What `finetune` and `distill` share: data, network, loop, measurement. One run of either.

    Args:
        config: a `FinetuneConfig`, or one with its fields.
        objective: from the run's labelled source, what is trained for; made in the strategy's scope.
        source: images; default: the config's.
        start, weights: as in `finetune`.
        needs_labels: refuse images without labels.
        dry: nothing is fetched or written, and no answers of a teacher are kept: for a description of the run.
    """

    def __init__(
        self,
        config: Any,
        *,
        objective: Callable[[data.Source], Objective],
        source: data.Source | None = None,
        start: Trained | None = None,
        weights: bool = True,
        needs_labels: bool = True,
        dry: bool = False,
    ):
        self.asked = self.config = config
        self.objective, self.needs_labels, self.dry = objective, needs_labels, dry
        if config.loop.model_dir is None and not dry:
            raise InputError("`output_dir` must be given. Received: output_dir=None.")
        self.directory = ModelDir(config.loop.model_dir or "")
        if config.loop.deterministic:
            tf.config.experimental.enable_op_determinism()
        self.strategy = make_strategy(config)
        self.whole = source or load_source(config, fetch=not dry)
        self.num_classes = self.whole.num_classes
        self.start, self.weights = start, weights
        self.rows: np.ndarray | None = None
        self._extract: evaluate.FeatureExtractor | None = None

    def run(
        self,
        *,
        overwrite: bool = False,
        allow_config_change: bool = False,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> Finetuned:
        """Trains to the end, measures, and writes metrics.json."""
        directory = self.directory
        self.prepare(anew=overwrite)
        config = self.config
        claim(directory, config, self.strategy, overwrite=overwrite, allow_config_change=allow_config_change)
        if self.whole.check(directory.bad_files):
            self.prepare()
            config = self.config
        self.write_parts()
        accuracy = Accuracy(self.measure, every_epochs=config.eval_epochs, last_step=self.plan.steps)
        seconds = fit(
            self.model,
            self.batches,
            self.plan,
            config,
            title=config.train_mode,
            views=self.first_views(),
            measure=[accuracy],
            callbacks=callbacks,
        )
        metrics = accuracy.latest or (self.measure() if distribute.is_chief() else {})
        self.write_result(self.plan.steps, metrics)
        return Finetuned(config, self.model, metrics, self.source, seconds, self.preprocessing)

    def evaluate(self) -> dict[str, float]:
        """Measures the newest checkpoint, and writes metrics.json."""
        stored = self.directory.read_config()
        self.prepare()
        changed = differences(stored, self.config)
        if changed:
            raise InputError(f"`output_dir` {self.directory.path!r} has another configuration: {sorted(changed)}.")
        checkpoints = Checkpoints(self.directory.checkpoints, every_steps=self.plan.steps, last_step=self.plan.steps)
        step = checkpoints.restore(self.model, self.config.loop.restore_step)
        if not step:
            raise InputError(f"`output_dir` must hold a checkpoint. Received: {self.directory.path!r}.")
        metrics = self.measure()
        self.write_result(step, metrics)
        return metrics

    def prepare(self, *, anew: bool = False) -> None:
        """Everything that can fail before a file is written: data, plan and network.

        Args:
            anew: the run that lies in the directory is moved aside afterwards.
        """
        self.source = self.labelled_source()
        keras.utils.set_random_seed(self.asked.loop.seed)
        start = self.starting_point()
        config = self.config = self.settled(start, anew=anew)
        self.plan = make_plan(config, self.source)
        check_same_data(config, self.source, self.plan, self.strategy)
        self.split = eval_split(config, self.source)
        self.check_labels()
        self._extract = None
        self.preprocessing = self.preprocessing_from(start).decoding_as(config.data)
        self.source = self.source.rendered(self.preprocessing.rendering(self.source.rendering))
        with self.strategy.scope(), precision(config.loop.mixed_precision):
            trunk = self.build_trunk(start)
            self.model = Classifier(
                trunk,
                self.num_classes,
                self.objective(self.source),
                view=augment.policy_from_config(config.augmentation).views[0],
                zero_init=config.zero_init_logits_layer,
                fine_tune_after_block=config.fine_tune_after_block,
                ema_decay=config.ema_decay,
            )
            compile_model(self.model, config.optimizer, config.loop, self.plan)
        replicas = self.strategy.num_replicas_in_sync
        self.costs = estimate_classifier(self.model, config, replicas)
        check_memory(self.costs, replicas)

    def settled(self, start: Trained | None, *, anew: bool) -> Any:
        """The config with what was not asked for: the size of the images, the batch, the warm-up."""
        config = self.asked
        if config.data.image_size is None:
            size = self.default_size(start)
            logging.info("Images of %d pixels a side.", size)
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, image_size=size))
        has_run = self.directory.path and not anew
        stored = self.directory.stored() if has_run else None
        # The gammas of a run that starts from other weights are theirs.
        return settled(config, self.source, self.strategy, stored=stored, first_gammas=start is None)

    def default_size(self, start: Trained | None) -> int:
        """That which the encoder was trained on, else the data's own."""
        if start is not None and start.image_size is not None:
            return start.image_size
        held = self.source.arrays(self.asked.data.train_split)
        return held[0].shape[1] if held is not None else DataConfig().image_size

    def labelled_source(self) -> data.Source:
        """The images to train on: all, or a balanced part of them."""
        if self.needs_labels and self.whole.num_classes is None:
            raise InputError(f"`dataset` must have labels. Received: {self.whole.name}, which has none.")
        if self.config.label_fraction is None:
            return self.whole
        split = self.config.data.train_split
        labels = data.labels_of(self.whole, split)
        self.rows = data.balanced_rows(labels, self.config.label_fraction, self.config.loop.seed)
        return data.Subset(self.whole, {split: (split, self.rows)})

    def check_labels(self) -> None:
        """Held-out images that cannot be measured are refused before the training, not after it."""
        if self.split is None:
            name = self.source.name
            logging.info("%s has no held-out split: no accuracy. Hold a part out: " + HOLD_OUT, name)
        elif self.source.num_classes is not None:
            labels = data.labels_of(self.source, self.split)
            checked_labels(f"labels of {self.split}", labels, len(labels), self.num_classes)
            held = self.source.arrays(self.config.data.train_split)
            if self.needs_labels and held is not None and held[1] is not None:
                check_classes(held[1][held[1] >= 0], labels)

    def starting_point(self) -> Trained | None:
        """The trained encoder to start from; None where the run starts from scratch."""
        config = self.config
        if self.start is None and config.checkpoint is None and config.saved_model is None:
            if config.encoder is None:
                raise InputError("Give a `checkpoint`, a `saved_model` or the flags of an encoder. Received: none.")
            return None
        start = self.start or load_trained(checkpoint=config.checkpoint, saved_model=config.saved_model)
        if not isinstance(start.encoder, keras.Model):
            raise InputError(
                "`saved_model` must tell its architecture to be fine-tuned, as this package's exports do. Received: "
                f"{start.name}. Its features can be measured as they are: tfcontrastive evaluate --protocol=linear."
            )
        if start.channels != self.source.channels:
            raise InputError(
                f"`dataset` must have images of {start.channels} channels, as {start.name}. "
                f"Received: {self.source.channels} channels in {self.source.name}."
            )
        return start

    def preprocessing_from(self, start: Trained | None) -> data.Preprocessing:
        """How images are prepared: as the flags of the encoder say, else as for the encoder that the run starts from."""
        encoder = self.config.encoder
        return start.preprocessing if encoder is None else data.Preprocessing.named(encoder.preprocessing)

    def build_trunk(self, start: Trained | None) -> keras.Model:
        """The network under the logits: the encoder, and what is kept of the projection head."""
        config = self.config
        size, channels = config.data.image_size, self.source.channels
        if start is None:
            return build_encoder(config.encoder, image_size=size, channels=channels)
        if config.encoder is None:
            encoder = rebuild(start.encoder, image_size=size, weights=self.weights)
        else:
            check_network(config.encoder, start.config, start.name)
            encoder = build_encoder(config.encoder, image_size=size, channels=channels)
            copy_weights(start.encoder, encoder, start.name)
        selector = start.ft_proj_selector if config.ft_proj_selector is None else config.ft_proj_selector
        if not selector or not self.weights:
            return encoder
        images = encoder.inputs[0]
        features = encoder(images)
        for layer in head_start(start.projection_head, selector, encoder.output_shape[-1]):
            features = layer(features)
        return keras.Model(images, features, name=f"{encoder.name}{_WITH_HEAD}")

    def batches(self, start_step: int) -> tf.data.Dataset:
        """The run's batches, of one view each, from a step on."""
        config = self.config
        return data.train_batches(
            self.source,
            config.data.train_split,
            batch_size=config.loop.train_batch_size,
            image_size=config.data.image_size,
            geometry=augment.policy_from_config(config.augmentation).geometries[:1],
            seed=config.loop.seed,
            start_step=start_step,
        )

    def first_views(self, count: int = 8) -> list[tf.Tensor]:
        """The first training images as the network will see them."""
        batch = next(iter(self.batches(0)))
        return [self.model.view(batch["views"][0][:count], batch["seeds"][:count, 0])]

    def measure(self) -> dict[str, float]:
        """Accuracies on the held-out split, of the averaged weights where there are any."""
        if self.split is None or self.source.num_classes is None:
            return {}
        scores, labels = self.scores(self.split)
        return evaluate.accuracies("eval", scores, labels)

    def scores(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Logits `[N, C]` and labels `[N]` of a split, as evaluation sees its images."""
        if self._extract is None:
            self._extract = evaluate.FeatureExtractor(self.model)
        with self.model.averaged():
            return self._extract(self.eval_batches(split))

    def eval_batches(self, split: str) -> tf.data.Dataset:
        """The images of a split once, in order."""
        loop = self.config.loop
        return data.eval_batches(
            self.source,
            split,
            batch_size=loop.eval_batch_size,
            image_size=self.config.data.image_size,
            limit=loop.eval_steps * loop.eval_batch_size or None,
            preprocessing=self.preprocessing,
        )

    def write_parts(self) -> None:
        """What the directory needs to be read without its data or the encoder it started from."""
        if not distribute.is_chief():
            return
        names = self.source.class_names
        network = keras.saving.serialize_keras_object(self.model.trunk)
        rule = dataclasses.asdict(self.preprocessing)
        facts = {"num_classes": self.num_classes, "class_names": names, "preprocessing": rule, "trunk": network}
        write_json(self.directory.network, facts)
        if self.rows is not None:
            split, fraction = self.config.data.train_split, self.config.label_fraction
            facts = {
                "dataset": self.whole.name,
                "split": split,
                "label_fraction": fraction,
                "seed": self.config.loop.seed,
            }
            write_json(os.path.join(self.directory.path, SUBSET), {**facts, "rows": self.rows.tolist()})

    def write_result(self, step: int, metrics: dict[str, float]) -> None:
        if distribute.is_chief():
            write_json(self.directory.metrics, {"step": step, **metrics})
