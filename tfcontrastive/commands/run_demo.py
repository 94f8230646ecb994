"""The demo: SimCLR on the embedded images, measured against a random and a supervised encoder, with a report."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfcontrastive import data, evaluate, export, report, storage
from tfcontrastive.callbacks.summaries import read_history
from tfcontrastive.config import OptimizerConfig, RunConfig, TrainConfig
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.downstream.finetune import finetune
from tfcontrastive.runs.builders import build_encoder, precision
from tfcontrastive.runs.inputs import load_source
from tfcontrastive.runs.load_run import card_of, read_config
from tfcontrastive.runs.model_dir import ModelDir, write_json
from tfcontrastive.runs.pace import measure_pace
from tfcontrastive.runs.pretrain import TrainResult, batches, train
from tfcontrastive.system.stages import Stages

# What else takes time, for the length of a run of given minutes: in steps of pre-training for each such step, in views
# that are trained on, and in seconds.
SUPERVISED_STEP, KNN_STEP = 0.9, 0.1
MEASURED_VIEWS = 15_000
OTHER_SECONDS = 85.0
MARGIN = 0.95

MAP_POINTS = 1000
PROJECTOR_POINTS = 1000
QUERIES = 8


@dataclasses.dataclass(frozen=True)
class Measured:
    """One encoder: its name, its features of the data, the numbers they gave, and how long it was trained."""

    name: str
    features: evaluate.LabelledFeatures
    metrics: dict[str, float]
    seconds: float


def run_demo(
    config: TrainConfig,
    *,
    minutes: float | None = None,
    overwrite: bool = False,
    stages: Stages,
    start: float | None = None,
) -> dict[str, dict[str, float]]:
    """Trains, measures, exports and reports, into `config.loop.model_dir`.

    Raw pixels and three encoders of one architecture and the same first weights are measured by kNN and a linear probe:
    untrained (but with batch-norm statistics of the data), trained by the config's method without labels, and trained
    with labels on as many images.

    Args:
        config: the run.
        minutes: that everything may take: the rate of the first steps on this machine sets how many steps there are. They
            are recorded with the run, so that a demo that was stopped goes on to the same end. None: the config's length.
        overwrite: as `train`.
        stages: told as each of the five begins: training, measuring, the supervised training, measuring, writing.
        start: when the command began, by `time.monotonic`; default: now.

    Returns:
        what comparison.json holds: `{"random": {"knn_top1", "linear_top1", ...}, "trained": {...}, "supervised": {...},
        "seconds": ...}`.

    Raises:
        InputError: as `train`.
    """
    start = time.monotonic() if start is None else start
    directory = ModelDir(config.loop.model_dir)
    stages.next()
    if minutes is not None:
        config = fit_into(minutes, config, directory, start, overwrite=overwrite, say=stages.say)
    result = train(config, overwrite=overwrite, title="SimCLR", say=stages.say)
    config, seconds, source = result.config, result.seconds, result.source
    stages.next()
    random = fresh_encoder(config, source)
    settle_statistics(random, result)
    measured = [
        measure(
            "raw pixels",
            keras.Sequential([keras.Input(random.input_shape[1:]), keras.layers.Flatten()]),
            config,
            source,
            0.0,
        ),
        measure("random", random, config, source, 0.0),
    ]
    measured.append(measure("trained", result.model.encoder, config, source, seconds))
    stages.next()
    views = len(result.model.policy.views)
    supervised = finetune(supervised_config(config, result.plan.steps, views), title="supervised", say=stages.say)
    stages.next()
    measured.append(measure("supervised", supervised.model.trunk, config, source, supervised.seconds))

    stages.next()
    card = card_of(config, directory, result.plan.steps)
    saved = export.save_once(result.model, directory.saved_model, image_size=config.data.image_size, card=card)
    write_projector(directory, source, measured[2])
    metrics: dict[str, Any] = {
        one.name.replace(" ", "_"): {**one.metrics, "train_seconds": one.seconds} for one in measured
    }
    write_page(directory, config, result, measured, saved)
    metrics["seconds"] = time.monotonic() - start
    write_json(os.path.join(directory.path, "comparison.json"), metrics)
    return metrics


def fit_into(
    minutes: float,
    config: TrainConfig,
    directory: ModelDir,
    start: float,
    *,
    overwrite: bool,
    say: Callable[[str], None],
) -> TrainConfig:
    """The config with as many steps as the minutes allow on this machine, or as its run began with."""
    if storage.exists(directory.config) and not overwrite:
        stored = read_config(directory.read_config())
        say(f"Going on with the run of {stored.loop.train_steps:,} steps in {directory.path}.")
        return with_length(config, stored.loop.train_steps, stored.optimizer.warmup_epochs)
    say("Measuring how fast this machine trains.")
    config, pace = measure_pace(config)
    source = load_source(config)
    batch = config.loop.train_batch_size
    views = 2 * batch / pace.step_seconds
    elapsed = time.monotonic() - start
    seconds = MARGIN * 60 * minutes - elapsed - OTHER_SECONDS - MEASURED_VIEWS / views - pace.compile_seconds
    steps = pace.steps_in(seconds, step_cost=1 + SUPERVISED_STEP + KNN_STEP)
    epochs = steps * batch / source.num_examples(config.data.train_split)
    say(f"{views:,.0f} views/s: {steps:,} steps, {epochs:.1f} epochs, fit into {minutes:g} minutes.")
    return with_length(config, steps, min(config.optimizer.warmup_epochs, round(epochs / 10, 2)))


def with_length(config: TrainConfig, steps: int, warmup_epochs: float) -> TrainConfig:
    """The config of a run of so many steps."""
    return dataclasses.replace(
        config,
        optimizer=dataclasses.replace(config.optimizer, warmup_epochs=warmup_epochs),
        loop=dataclasses.replace(config.loop, train_steps=steps),
    )


def fresh_encoder(config: TrainConfig, source: data.Source) -> keras.Model:
    """The config's encoder with the first weights that its seed gives."""
    keras.utils.set_random_seed(config.loop.seed)
    with precision(config.loop.mixed_precision):
        return build_encoder(config.encoder, image_size=config.data.image_size, channels=source.channels)


def supervised_config(config: TrainConfig, steps: int, views: int) -> FinetuneConfig:
    """The same network trained from scratch with all labels, on as many images a step, hence as many seconds."""
    shared = {field.name: getattr(config.loop, field.name) for field in dataclasses.fields(RunConfig)}
    batch = views * config.loop.train_batch_size
    changes: dict[str, Any] = {
        "model_dir": os.path.join(config.loop.model_dir, "supervised"),
        "train_batch_size": batch,
    }
    changes |= {"train_steps": steps, "restore_step": None}  # a step to go back to is one of the pre-training
    return FinetuneConfig(
        encoder=config.encoder,
        data=config.data,
        optimizer=OptimizerConfig(
            optimizer="momentum",
            learning_rate=0.1 * 256 / batch,  # 0.1, which is not to be scaled
            warmup_epochs=0.0,
            weight_decay=5e-4,
            decay_all_weights=True,
        ),
        loop=RunConfig(**{**shared, **changes}),
    )


def settle_statistics(encoder: keras.Model, result: TrainResult, batches_seen: int = 20) -> None:
    """Gives a network that was never trained the batch-norm statistics of the data, as a fair comparison needs."""
    seen = batches(result.config, result.model, result.source, 0).take(batches_seen)
    for batch in seen:
        encoder(batch["views"][0], training=True)


def measure(name: str, encoder: keras.Model, config: TrainConfig, source: data.Source, seconds: float) -> Measured:
    """kNN and linear accuracy of a frozen encoder."""
    features = evaluate.labelled_features(
        encoder,
        source,
        train_split=config.data.train_split,
        batch_size=config.loop.eval_batch_size,
        image_size=config.data.image_size,
    )
    knn = evaluate.KNN(k=config.loop.knn_k, temperature=config.loop.knn_temperature)
    metrics = {**knn.measure(features), **evaluate.Linear(seed=config.loop.seed).measure(features)}
    return Measured(name, features, metrics, seconds)


def write_projector(directory: ModelDir, source: data.Source, trained: Measured) -> None:
    """TensorBoard's embedding projector: test images as points, with thumbnails."""
    images, labels = source.arrays("test")
    count = min(PROJECTOR_POINTS, len(images))
    evaluate.write_projector(
        directory.logs,
        {"trained": trained.features.features[:count]},
        labels=labels[:count],
        class_names=source.class_names,
        images=images[:count],
    )


def write_page(
    directory: ModelDir, config: TrainConfig, result: TrainResult, measured: list[Measured], saved: str
) -> str:
    """report.html: results, curves, views, neighbours, map."""
    _, random, trained, _ = measured
    return report.write_report(
        os.path.join(directory.path, "report.html"),
        title=f"SimCLR on {result.plan.num_examples:,} images without labels",
        subtitle="Fashion-MNIST, 28 x 28 pixels. The encoder never saw a label; labels are used here only to measure it.",
        sections=[
            headline(random, trained),
            results(config, measured),
            curves(directory),
            view_pairs(result),
            neighbours(config, result.source, trained),
            embedding_map(result.source, trained),
            report.Notes(
                "What next",
                ["The encoder is in the SavedModel below; `tensorboard --logdir` shows the run and the projector."],
                {
                    "SavedModel": os.path.relpath(saved, directory.path),
                    "TensorBoard": "logs",
                    "Numbers": "comparison.json",
                },
            ),
        ],
    )


def headline(random: Measured, trained: Measured) -> report.Headline:
    """The two numbers that matter, with what training added."""
    figures = []
    for key, label in (("knn_top1", "kNN top-1"), ("linear_top1", "Linear top-1")):
        gain = 100 * (trained.metrics[key] - random.metrics[key])
        figures.append(report.Figure(label, f"{trained.metrics[key]:.1%}", f"{gain:+.1f} points over a random encoder"))
    return report.Headline([*figures, report.Figure("Training", f"{trained.seconds:.0f} s", "on this machine")])


def results(config: TrainConfig, measured: list[Measured]) -> report.Table:
    """One row an encoder."""
    columns = [
        report.Column("encoder"),
        report.Column("kNN top-1", ".1%", best="highest"),
        report.Column("linear top-1", ".1%", best="highest"),
        report.Column("seconds of training", ".0f"),
    ]
    rows = [(one.name, one.metrics["knn_top1"], one.metrics["linear_top1"], one.seconds) for one in measured]
    caption = (
        f"kNN: k={config.loop.knn_k}, T={config.loop.knn_temperature:g}. Linear: logistic regression on frozen features. "
        "Supervised: the same network trained with all labels on as many images."
    )
    return report.Table("Results", columns, rows, caption=caption)


def curves(directory: ModelDir) -> report.Curves:
    """Loss, and accuracies while training."""
    history = read_history(directory.history)
    steps = np.diff([0, *(one["step"] for one in history)])
    # Means over an epoch; a last one of few steps says little.
    whole = [one for one, count in zip(history, steps, strict=True) if count >= np.median(steps) / 2]

    def line(name: str, key: str) -> report.Line:
        known = [one for one in (history if key in ("knn_top1", "effective_rank") else whole) if key in one]
        return report.Line(name, [one["step"] for one in known], [one[key] for one in known])

    accuracies = [line("online probe, training views", "probe_accuracy"), line("kNN, test images", "knn_top1")]
    charts = [
        report.Chart("Contrastive loss", [line("loss", "loss")]),
        report.Chart("Accuracy", accuracies, format=".0%"),
        report.Chart("Contrastive accuracy", [line("own view found", "contrast_acc")], format=".0%"),
        report.Chart("Effective rank of the features", [line("rank", "effective_rank")]),
    ]
    return report.Curves("Curves", charts)


def view_pairs(result: TrainResult) -> report.ViewPairs:
    """The first views of the run."""
    return report.ViewPairs(
        "Augmented views",
        [np.asarray(view) for view in result.views],
        caption="Two random views of each image: what is pulled together.",
    )


def neighbours(config: TrainConfig, source: data.Source, trained: Measured) -> report.Neighbours:
    """Test images, one of each of several classes, with the nearest training images."""
    train_images, train_labels = source.arrays(config.data.train_split)
    images, labels = source.arrays("test")
    first = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)][:QUERIES]
    similarities, rows = evaluate.nearest_neighbours(
        trained.features.features[first], trained.features.train_features, k=8
    )
    return report.Neighbours(
        "Nearest neighbours",
        images[first],
        train_images[rows],
        labels[first],
        train_labels[rows],
        similarities,
        class_names=source.class_names,
        caption="A test image of each class, then the training images whose features are nearest.",
    )


def embedding_map(source: data.Source, trained: Measured) -> report.EmbeddingMap:
    """The features of test images in the plane."""
    images, labels = source.arrays("test")
    count = min(MAP_POINTS, len(images))
    return report.EmbeddingMap(
        "Map of the embedding",
        evaluate.map_2d(trained.features.features[:count]),
        labels[:count],
        class_names=source.class_names,
        images=images[:count],
        caption=f"t-SNE of the features of {count} test images, coloured by the class that training never saw.",
    )
