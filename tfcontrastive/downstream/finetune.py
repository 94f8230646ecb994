"""Fine-tuning: a trained encoder and few labels become a classifier."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from tfcontrastive import augment, data, distribute, evaluate
from tfcontrastive.callbacks import Accuracy
from tfcontrastive.config import DataConfig, InputError
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.encoders.rebuild import copy_weights, head_start, rebuild
from tfcontrastive.encoders.whitening import whitening_of
from tfcontrastive.evaluate.checks import check_classes, checked_labels
from tfcontrastive.models.classifier import Classifier, Objective
from tfcontrastive.models.objectives import CrossEntropy
from tfcontrastive.planning.cost import estimate_classifier
from tfcontrastive.pretrained.trained import Trained, load_trained
from tfcontrastive.runs.agreement import check_same_data
from tfcontrastive.runs.builders import build_encoder, check_network, compile_model, precision
from tfcontrastive.runs.inputs import HOLD_OUT, eval_split, make_plan
from tfcontrastive.runs.loop import Prepared, Run, Site
from tfcontrastive.runs.model_dir import ModelDir, write_json
from tfcontrastive.runs.reprs import as_html, in_words
from tfcontrastive.runs.settle import settled
from tfcontrastive.system.terminal import say

SUBSET = "label_subset.json"
"""Where a run keeps which images it took with labels."""

_WITH_HEAD = "_with_head"  # ends the name of a trunk of an encoder and layers of its projection head


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """A trained classifier, its accuracies after the last step (`eval_top1`, `eval_top5`, ...), its data, and how
    its images are cropped and resized."""

    config: FinetuneConfig
    model: Classifier
    metrics: dict[str, float]
    source: data.Source
    seconds: float
    preprocessing: data.Preprocessing
    prepared: PreparedClassifier | None = None

    def predictions(self) -> evaluate.Predictions | None:
        """What it says of each held-out image, in the split's order; None where none has a label."""
        made = self.prepared
        if made is None or made.split is None or made.source.num_classes is None:
            return None
        logits, labels = made.scores(made.split)
        return evaluate.Predictions.of_logits(labels, logits)

    def __repr__(self) -> str:
        return in_words(self, self.config.kind, distribute.step_of(self.model))

    def _repr_html_(self) -> str:
        return as_html(self.metrics)


def finetune(
    config: FinetuneConfig,
    *,
    overwrite: bool = False,
    allow_config_change: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    source: data.Source | None = None,
    start: Trained | None = None,
    weights: bool = True,
    title: str | None = None,
    say: Callable[[str], None] = say,
) -> Finetuned:
    """Fine-tunes an encoder on labels, or goes on where a run in the same `model_dir` stopped.

    The loss is `CrossEntropy`; see `Classifier` and `freeze` for what is trained. Writes result.json: the accuracies on
    the held-out split after the last step, never the best of several.

    Args:
        config: the run; `loop.model_dir` is needed.
        overwrite, allow_config_change: what to do with another run's directory, see `ModelDir.claim`.
        callbacks: more Keras callbacks; what they add to the logs of an epoch is written.
        source: labelled images; default: the config's.
        start: a loaded encoder to start from, instead of the config's; it is left as it is.
        weights: False takes its architecture alone, without its projection head: a training from scratch.
        title, say: of the progress, see `runs.loop.Run.train`.

    Raises:
        InputError: anything in the config, the weights, the data or the directory that cannot work (weights that do not
            fit the network are listed), and a loss that is not finite.

    Examples:
        >>> config = FinetuneConfig(
        ...     checkpoint="runs/a",
        ...     encoder=None,
        ...     label_fraction=0.1,
        ...     data=DataConfig(dataset="embedded", image_size=28),
        ...     loop=tfcontrastive.RunConfig(model_dir="runs/a_10pct", train_batch_size=128, train_epochs=30),
        ... )
        >>> accuracy = finetune(config).metrics["eval_top1"]

    Source: Chen et al., arXiv 2006.10029, section 3; arXiv 2002.05709, section 4 and appendix B.5.
    """
    run = finetuning(config, source=source, start=start, weights=weights)
    how = {"overwrite": overwrite, "allow_config_change": allow_config_change}
    return finetuned(run, **how, callbacks=callbacks, title=title, say=say)


def finetuning(
    config: FinetuneConfig,
    *,
    source: data.Source | None = None,
    start: Trained | None = None,
    weights: bool = True,
    dry: bool = False,
) -> Run:
    """The run of a config, to be trained, evaluated or, `dry`, described; the arguments are those of `finetune`."""
    return Run(config, Tuning(config, start, weights=weights), source=source, dry=dry)


def finetuned(run: Run, **how: Any) -> Finetuned:
    """What comes out of a run of fine-tuning or distillation; the arguments are those of `Run.train`."""
    done = run.train(**how)
    made = done.prepared
    return Finetuned(made.config, made.model, done.metrics, made.source, done.seconds, made.preprocessing, made)


def require_channels(source: data.Source, start: Trained | None) -> None:
    """Refuses images of other channels than the encoder takes that a run starts from. Raises InputError."""
    if start is not None and start.channels != source.channels:
        raise InputError(
            f"`dataset` must have images of {start.channels} channels, as {start.name}. "
            f"Received: {source.channels} channels in {source.name}."
        )


def encoder_of(trunk: keras.Model) -> keras.Model:
    """The encoder of a classifier's trunk, without what the trunk has kept of a projection head."""
    return trunk.layers[1] if trunk.name.endswith(_WITH_HEAD) else trunk


@dataclasses.dataclass(frozen=True, kw_only=True)
class PreparedClassifier(Prepared):
    """A fine-tuning, prepared.

    Attributes:
        split: the held-out images; None: there are none.
        preprocessing: how images are cropped and resized.
        num_classes: of the classifier.
        whole: all images, of which `rows` are trained on, or keep their labels; None: all.
    """

    split: str | None
    preprocessing: data.Preprocessing
    num_classes: int
    whole: data.Source
    rows: np.ndarray | None

    def batches(self, start_step: int) -> tf.data.Dataset:
        """Of one view each."""
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

    def first_views(self, batches: tf.data.Dataset, count: int = 8) -> list[tf.Tensor]:
        batch = next(iter(batches))
        return [self.model.view(batch["views"][0][:count], batch["seeds"][:count, 0])]

    def measuring(self) -> Accuracy:
        return Accuracy(self.measure, every_epochs=self.config.eval_epochs, last_step=self.plan.steps)

    def measure(self) -> dict[str, float]:
        """Accuracies on the held-out split, of the averaged weights where there are any."""
        if self.split is None or self.source.num_classes is None:
            return {}
        return evaluate.accuracies("eval", *self.scores(self.split))

    def scores(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Logits `[N, C]` and labels `[N]` of a split, as evaluation sees its images."""
        with self.model.averaged():
            scores, labels = self._extract(self.eval_batches(split))
        known = labels >= 0
        return (scores, labels) if known.all() else (scores[known], labels[known])

    @functools.cached_property
    def _extract(self) -> evaluate.FeatureExtractor:
        return evaluate.FeatureExtractor(self.model)

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

    def write_parts(self, directory: ModelDir) -> None:
        """network.json: what the directory needs to be read without its data or the encoder it started from."""
        network = keras.saving.serialize_keras_object(self.model.trunk)
        rule = dataclasses.asdict(self.preprocessing)
        names = self.source.class_names
        facts = {"num_classes": self.num_classes, "class_names": names, "preprocessing": rule, "trunk": network}
        write_json(directory.network, facts)
        if self.rows is not None:
            config = self.config
            facts = {"dataset": self.whole.name, "split": config.data.train_split}
            facts |= {"label_fraction": config.label_fraction, "seed": config.loop.seed, "rows": self.rows.tolist()}
            write_json(os.path.join(directory.path, SUBSET), facts)


@dataclasses.dataclass(frozen=True)
class Tuning:
    """How a fine-tuning is prepared: its images, its network and what that starts from. Distillation changes parts of it.

    Args:
        config: a `FinetuneConfig`, or one with its fields.
        start, weights: as in `finetune`.
        needs_labels: refuse images without labels.
        num_classes: of the classifier; default: the data's.
    """

    config: Any
    start: Trained | None = None
    weights: bool = True
    needs_labels: bool = True
    num_classes: int | None = None

    def __call__(self, site: Site) -> PreparedClassifier:
        """The run at its site: see `Prepared`."""
        source, rows = self.labelled(site.source)
        num_classes = self.num_classes or site.source.num_classes
        keras.utils.set_random_seed(self.config.loop.seed)
        start = self.starting_point()
        source = self.taken(source, start)
        config = self.settled(site, source, start)
        plan = make_plan(config, source)
        check_same_data(config, source, plan, site.strategy)
        split = eval_split(config, source)
        self.check_labels(config, source, split, num_classes)
        preprocessing = self.preprocessing(start).decoding_as(config.data)
        source = source.rendered(preprocessing.rendering(source.rendering))
        with site.strategy.scope(), precision(config.loop.mixed_precision):
            model = Classifier(
                self.trunk(config, source, start),
                num_classes,
                self.objective(site, config, source, rows, preprocessing),
                view=augment.policy_from_config(config.augmentation).views[0],
                zero_init=config.zero_init_logits_layer,
                fine_tune_after_block=config.fine_tune_after_block,
                ema_decay=config.ema_decay,
            )
            compile_model(model, config.optimizer, config.loop, plan)
        return self.prepared(
            config=config,
            source=source,
            plan=plan,
            model=model,
            cost=estimate_classifier(model, config, site.replicas),
            split=split,
            preprocessing=preprocessing,
            num_classes=num_classes,
            whole=site.source,
            rows=rows,
            origin={} if start is None else start.facts,
        )

    def objective(
        self, site: Site, config: Any, source: data.Source, rows: np.ndarray | None, preprocessing: data.Preprocessing
    ) -> Objective:
        """What is trained for; made in the strategy's scope."""
        del site, source, rows, preprocessing
        return CrossEntropy(config.label_smoothing)

    def prepared(self, **parts: Any) -> PreparedClassifier:
        """The run of its parts; a kind that measures otherwise has a class of its own."""
        return PreparedClassifier(**parts)

    def settled(self, site: Site, source: data.Source, start: Trained | None) -> Any:
        """The config with what was not asked for: the size of the images, the batch, the warm-up."""
        config = self.config
        if config.data.image_size is None:
            size = self.default_size(source, start)
            logging.info("Images of %d pixels a side.", size)
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, image_size=size))
        # The gammas of a run that starts from other weights are theirs.
        return settled(config, source, site.strategy, stored=site.stored, first_gammas=start is None)

    def default_size(self, source: data.Source, start: Trained | None) -> int:
        """That which the encoder was trained on, else the data's own."""
        if start is not None and start.image_size is not None:
            return start.image_size
        held = source.arrays(self.config.data.train_split)
        return held[0].shape[1] if held is not None else DataConfig().image_size

    def labelled(self, whole: data.Source) -> tuple[data.Source, np.ndarray | None]:
        """The images to train on, all or a balanced part of them, and the rows of that part."""
        config = self.config
        if self.needs_labels and whole.num_classes is None:
            raise InputError(f"`dataset` must have labels. Received: {whole.name}, which has none.")
        split = config.data.train_split
        if config.label_fraction is None:
            if not (self.needs_labels and whole.partly_labelled):
                return whole, None
            rows = np.flatnonzero(data.labels_of(whole, split) >= 0)
            logging.info("%s: %d images of %s have labels.", whole.name, len(rows), split)
            return data.Subset(whole, {split: (split, rows)}), rows
        rows = data.balanced_rows(data.labels_of(whole, split), config.label_fraction, config.loop.seed)
        return data.Subset(whole, {split: (split, rows)}), rows

    def check_labels(self, config: Any, source: data.Source, split: str | None, num_classes: int) -> None:
        """Held-out images that cannot be measured are refused before the training, not after it."""
        if split is None:
            logging.info("%s has no held-out split: no accuracy. Hold a part out: " + HOLD_OUT, source.name)
        elif source.num_classes is not None:
            labels = data.labels_of(source, split)
            if source.partly_labelled:  # those without are not measured on
                labels = labels[labels >= 0]
            checked_labels(f"labels of {split}", labels, len(labels), num_classes)
            held = source.arrays(config.data.train_split)
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
        return start

    def taken(self, source: data.Source, start: Trained | None) -> data.Source:
        """The images as the encoder takes them that the run starts from. Raises InputError: it does not take such."""
        source = evaluate.taken_by(start, source)
        require_channels(source, start)
        return source

    def preprocessing(self, start: Trained | None) -> data.Preprocessing:
        """How images are prepared: as the flags of the encoder say, else as for the encoder that the run starts from."""
        encoder = self.config.encoder
        return start.preprocessing if encoder is None else data.Preprocessing.named(encoder.preprocessing)

    def trunk(self, config: Any, source: data.Source, start: Trained | None) -> keras.Model:
        """The network under the logits: the encoder, and what is kept of the projection head."""
        size, channels = config.data.image_size, source.channels
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
        if start.projection_head is None:
            why = ": they are whitened" if whitening_of(encoder) is not None else ""
            raise InputError(
                "`ft_proj_selector` must be 0 for an encoder without a projection head that reads its features. Received: "
                f"ft_proj_selector={selector} with {start.name}{why}."
            )
        images = encoder.inputs[0]
        features = encoder(images)
        for layer in head_start(start.projection_head, selector, encoder.output_shape[-1]):
            features = layer(features)
        return keras.Model(images, features, name=f"{encoder.name}{_WITH_HEAD}")
