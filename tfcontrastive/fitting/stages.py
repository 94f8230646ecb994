"""The stages from a folder of images to an encoder, with the proof of what it is worth."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import keras
import numpy as np

from tfcontrastive import data, distribute, evaluate, export, methods
from tfcontrastive.callbacks.loggers import attach_page
from tfcontrastive.config import TrainConfig
from tfcontrastive.downstream.finetune import encoder_of
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.encoders.whitening import whitening_of
from tfcontrastive.fitting import comparison, guarding, leaving, page, unlabelled
from tfcontrastive.fitting.choices import Choice, decide
from tfcontrastive.fitting.choosing import FILE as CHOOSING
from tfcontrastive.fitting.choosing import Parts
from tfcontrastive.fitting.galleries import Story, neighbours
from tfcontrastive.fitting.judging import Judgement
from tfcontrastive.fitting.length import Budget, with_length
from tfcontrastive.fitting.measure import (
    MOST,
    Measure,
    Measured,
    bare_pixels,
    chance,
    require_finite,
)
from tfcontrastive.fitting.memo import Decided
from tfcontrastive.fitting.memory import within_memory
from tfcontrastive.fitting.pictures import Pictures
from tfcontrastive.fitting.request import make_request
from tfcontrastive.fitting.result import FitResult
from tfcontrastive.fitting.rows import measured_splits, rows_of
from tfcontrastive.fitting.staged_command import StagedCommand
from tfcontrastive.fitting.start import start_of
from tfcontrastive.fitting.survey import Survey
from tfcontrastive.fitting.verdict import verdict
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.builders import build_encoder, encoder_and_size, precision
from tfcontrastive.runs.inputs import eval_split
from tfcontrastive.runs.load_run import card_of
from tfcontrastive.runs.pace import measure_pace
from tfcontrastive.runs.pretrain import TrainResult, batches, images_of_run, train
from tfcontrastive.runs.schedule import filled_in
from tfcontrastive.system.precision import fastest, resolve

_RETRIEVED = 500  # images that are looked for by their views
_LEAVING_SECONDS = 40.0  # of the last stage
_PROJECTED = 1_000


def fit(
    what: str | os.PathLike,
    *,
    minutes: float | None = 20.0,
    output_dir: str | os.PathLike | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> FitResult:
    """Learns an encoder from your own images in one call, measures it, and leaves it ready to use.

    The images are looked at, what to train is decided from them and from the minutes, a fifth of each class is held out,
    an encoder is trained without labels, measured beside chance, raw pixels and the untrained network, and tuned with
    labels where there are any. From trained weights (`checkpoint`), what comes out is taken only where images that neither
    taught nor report say that it is better; else the encoder is handed back as it was. Stopped at any moment and called
    again it goes on, and so does the clock.

    Args:
        what: a folder of images, whose sub-folders are classes where there are any; or what `tfcontrastive.data.load` takes.
        minutes: that the whole may take; None with `train_epochs` or `train_steps`, whatever they take.
        output_dir: where everything goes; default: the images' name and `_fit`.
        overwrite: what lies there is moved aside.
        **settings: of `tfcontrastive train`, which are then not decided: `labels="labels.csv"`, `image_size=96`,
            `keep_color=True`, `method="moco"`, `checkpoint="runs/a"`, `seed=1`, ...

    Returns:
        the result; its files are in `output_dir`.

    Raises:
        InputError: no such images, too few, settings that do not work, or a directory of something else.

    Examples:
        >>> r = fit("photos", minutes=20)
        >>> accuracy = r.metrics["trained"]["knn_top1"]
        >>> nearest = r.search("cat.jpg", k=5)
    """
    request = make_request(what, minutes=minutes, output_dir=output_dir, **settings)
    return Fitting.of(request, overwrite=overwrite)


class Fitting(StagedCommand):
    """`fit`, from its request to its result."""

    STAGES = (
        "looking at the images",
        "deciding what to train",
        "pre-training without labels",
        "measuring what it learned",
        "training with labels",
        "model, vectors and report",
    )
    parts: Parts | None = None
    """Images that choose between the trained encoder and the weights that it started from."""

    def run(self) -> FitResult:
        self.begin("look")
        config, seen = self.look()
        self.begin("decide")
        decided, start = self.decide(config, seen)
        self.begin("train")
        given: Any = start  # a `Trained` is a `Start`
        result = train(
            decided.config,
            start=given,
            source=self.source if self.parts is None else self.parts.source,
            callbacks=[self.clock.callback()],
            title=decided.config.method,
            say=self.say,
            lock=self.lock,
        )
        result = dataclasses.replace(result, source=self.source)
        self.begin("measure")
        measure = Measure(result.config, result.source, eval_split(result.config, result.source))
        given = self.given(result.config, start)
        measured = self.measure(measure, result, given)
        judgement = self.judge(result, given)
        kept = given if judgement is not None and judgement.chosen == "given" else None
        self.begin("labels")
        self.train_with_labels(result, measure, measured, kept)
        self.begin("leave")
        return self.leave(decided, seen, result, measure, measured, judgement, kept, start)

    def look(self) -> tuple[TrainConfig, Survey]:
        """The survey, and the config with the held-out images, which are drawn here."""
        seen, kept = self.look_at_images()
        self.source = kept.source
        return kept.config, seen

    def decide(self, config: TrainConfig, seen: Survey) -> tuple[Decided, Trained | None]:
        """What is trained, as it was decided before or now."""
        asked = self.request.asked
        config, start = start_of(config, asked)
        self.source = source = images_of_run(self.source, start)
        if start is not None or brings_weights(config):
            self.parts = guarding.images_that_choose(config, source, seen, self.path(CHOOSING))
        if self.parts is not None:
            source = self.parts.source
            self.say(
                f"{source.num_examples('choosing'):,} images are not learned from: they choose between what comes out and "
                f"the weights that it starts from; listed in {self.path(CHOOSING)}."
            )
        seen = dataclasses.replace(seen, channels=source.channels)
        before = self.memo.decided()
        if before is not None:
            loop = before.config.loop
            length = f"{loop.train_steps:,} steps" if loop.train_steps else f"{loop.train_epochs:,} epochs"
            self.say(f"Going on with what was decided: {length}.")
            return before, start
        num_images = source.num_examples(config.data.train_split)
        chosen = resolve(config.loop.mixed_precision) if config.loop.mixed_precision != "auto" else fastest()
        config, choices = decide(
            config,
            seen,
            asked=asked | ({"image_size"} if start is not None else set()),
            minutes=self.request.minutes,
            num_images=num_images,
            precision=chosen,
            started=start is not None,
        )
        config, choices = within_memory(config, choices, source, asked)
        for choice in choices:
            self.say(choice.line())
        if self.request.minutes is not None and not asked & {"train_steps", "train_epochs"}:
            self.say("Measuring how fast this machine trains.")
            config, pace = measure_pace(config, source)
            labelled = source.num_classes is not None and eval_split(config, source) is not None
            measured = sum(map(len, seen.parts.values()))
            budget = Budget(self.clock.left(), measured, self.request.comparison if labelled else None)
            batch = config.loop.train_batch_size
            steps = budget.steps(pace, batch)
            epochs = steps * batch / num_images
            rate = 2 * batch / pace.step_seconds
            reason = f"{rate:,.0f} views/s: {epochs:.1f} epochs fit into {self.request.minutes:g} minutes with the rest"
            choices.append(Choice("train_steps", steps, reason))
            self.say(choices[-1].line())
            config = with_length(config, steps, pace, num_images, asked=asked)
        # Batch and warm-up too, which a command that is stopped before its run begins would not find again.
        config, _ = filled_in(config, num_images, replicas=distribute.strategy_of(config.loop).num_replicas_in_sync)
        decided = Decided(config, choices)
        self.memo.keep(self.request, decided)
        return decided, start

    def given(self, config: TrainConfig, start: Trained | None) -> keras.Model | None:
        """The encoder with the weights that the training started from; None where these are random."""
        if start is not None:
            encoder: Any = start.encoder
            return encoder
        return fresh_encoder(config, self.source) if brings_weights(config) else None

    def judge(self, result: TrainResult, given: keras.Model | None) -> Judgement | None:
        """Whether the trained encoder is better than the one that it started from; None where that is random."""
        if given is None:
            return None
        found = guarding.judged(
            self.parts, result.config, given, result.model.encoder, result.model.policy, step=result.plan.steps
        )
        self.say(f"{found.reason[:1].upper()}{found.reason[1:]}.")
        return found

    def measure(self, measure: Measure, result: TrainResult, given: keras.Model | None) -> list[Measured]:
        """Raw pixels, the untrained network, the given one, and the trained one."""
        if given is not None and brings_weights(result.config):
            with precision(result.config.loop.mixed_precision):
                random = rebuild(given, image_size=result.config.data.image_size, weights=False)
        else:
            random = fresh_encoder(result.config, result.source)
        if random.non_trainable_weights:  # without batch norm there is nothing to settle
            some = batches(result.config, result.model, result.source, 0).take(20)
            evaluate.settle_statistics(random, (batch["views"][0] for batch in some))
        evaluate.settle_whitening(random, measure.batches(measure.train_split))
        measured = [measure.raw_pixels(), measure("random", random)]
        encoders: list[Any] = [bare_pixels, random]
        if given is not None:
            measured.append(measure("given", given))
            encoders.append(given)
        measured.append(measure("trained", result.model.encoder, result.seconds))
        encoders.append(result.model.encoder)
        require_finite(measured[-1])
        return self._with_retrieval(measure, result, measured, encoders)

    def _with_retrieval(
        self, measure: Measure, result: TrainResult, measured: list[Measured], encoders: list[Any]
    ) -> list[Measured]:
        """The same, with how often an image is found by its own view."""
        some = measure.some_images(_RETRIEVED)
        if len(some) < 4:
            return measured
        policy, seed = result.model.policy, result.config.loop.seed
        found = []
        for one, encoder in zip(measured, encoders, strict=True):
            value = unlabelled.retrieval(encoder, some, policy, seed=seed)
            found.append(dataclasses.replace(one, metrics={**one.metrics, "retrieval_top1": value}))
        return found

    def train_with_labels(
        self, result: TrainResult, measure: Measure, measured: list[Measured], kept: keras.Model | None = None
    ) -> None:
        """Fine-tuning, of the encoder that is left, or the supervised comparison; adds it to what was measured."""
        labelled = measured[-1].features.labelled()
        if labelled is None:
            self.say(why_no_accuracy(result, measure))
            return
        how: dict[str, Any] = {"callbacks": [self.clock.callback()], "say": self.say}
        name = self.request.comparison
        if name == "supervised":
            tuned = comparison.supervised(result, **how)
        else:
            left = self.clock.left() - _LEAVING_SECONDS
            most = 0.4 * result.seconds if np.isfinite(left) else result.seconds
            tuned = comparison.fine_tuned(result, min(left, most) if np.isfinite(left) else most, kept=kept, **how)
        own = measure(name, _whitened(encoder_of(tuned.model.trunk), result, measure), tuned.seconds)
        more = {key.replace("eval_", "classifier_"): value for key, value in tuned.metrics.items()}
        measured.append(dataclasses.replace(own, metrics={**own.metrics, **more}))

    def leave(
        self,
        decided: Decided,
        seen: Survey,
        result: TrainResult,
        measure: Measure,
        measured: list[Measured],
        judgement: Judgement | None,
        kept: keras.Model | None,
        start: Trained | None,
    ) -> FitResult:
        """Model, vectors, numbers and pages, of the encoder that was chosen."""
        config, source = result.config, result.source
        card = card_of(config, self.directory, result.plan.steps)
        if judgement is not None:  # whose weights they were, and under which licence
            card |= {"started_from": judgement.facts, "imported": None if start is None else start.facts or None}
        if kept is not None:
            card |= {"step": 0, "metrics": {}}
        rule = data.Preprocessing.of_run(config.encoder, config.data)
        model: Any = result.model if kept is None else kept
        saved = export.save_once(
            model, self.directory.saved_model, image_size=config.data.image_size, card=card, preprocessing=rule
        )
        own = next(one for one in measured if one.name == ("trained" if kept is None else "given"))
        ids, splits, group = rows_of(self.request, seen, source, measure)
        doubted = self.leave_vectors(own, seen, ids, splits, group)
        problems = self.problems(saved)
        level = chance(own.features)
        alike = len(np.unique(np.concatenate([part.group for part in seen.parts.values()]))) == 1
        said = verdict(measured, level, unmeasured=why_no_accuracy(result, measure), alike=alike)
        if judgement is not None:
            said.insert(0, f"{judgement.reason[:1].upper()}{judgement.reason[1:]}.")
        said += [f"The SavedModel fails a check: {problem}." for problem in problems]
        commands = leaving.next_commands(self.request, config, ids)
        found = FitResult(
            output_dir=self.directory.path, metrics={}, verdict=said, survey=seen, choices=decided.choices, trained=result,
            measured=measured, ids=ids, splits=splits, next_commands=commands, kept=kept, chosen=own.name,
            reason="" if judgement is None else judgement.reason,
        )  # fmt: skip
        self._write_projector(result, own)
        groups = unlabelled.clusters(own.features.everywhere(), seed=config.loop.seed)
        pictures = Pictures(source, measured_splits(measure), MOST)
        story = Story(found, self.request, measure, level, group, doubted, groups, pictures)
        attach_page(config.loop.log_to, self.directory.path, page.write_page(self.path(leaving.PAGE), story))
        facts = {
            **({} if judgement is None else judgement.facts),
            "method": config.method,
            "steps": result.plan.steps,
            "verdict": said,
            "clusters": None if groups is None else {"count": groups.count, "silhouette": groups.silhouette},
            "suspects": len(doubted),
            "saved_model": saved,
            "saved_model_problems": problems,
        }
        metrics = self.leave_numbers(measured, level, facts)
        return dataclasses.replace(found, metrics=metrics, shown=(page.results(story), neighbours(story)))

    def _write_projector(self, result: TrainResult, own: Measured) -> None:
        """TensorBoard's embedding projector, where images are held in memory: points with thumbnails."""
        split = eval_split(result.config, result.source) or result.config.data.train_split
        held = result.source.arrays(split)
        if held is None:
            return
        features = own.features.test if len(own.features.test) else own.features.train
        count = min(_PROJECTED, len(held[0]), len(features))
        evaluate.write_projector(
            self.directory.logs,
            {own.name: features[:count]},
            labels=None if held[1] is None else held[1][:count],
            class_names=result.source.class_names,
            images=held[0][:count],
        )


def _whitened(encoder: keras.Model, result: TrainResult, measure: Measure) -> keras.Model:
    """A copy whose features are whitened as those of the trained encoder are, where its own are not yet."""
    whitening = whitening_of(encoder)
    if whitening is None or whitening.fitted:
        return encoder
    with precision(result.config.loop.mixed_precision):
        copy = rebuild(encoder, image_size=result.config.data.image_size)
    evaluate.settle_whitening(copy, measure.batches(measure.train_split))
    return copy


def why_no_accuracy(result: TrainResult, measure: Measure) -> str:
    """Where none was measured."""
    if result.source.num_classes is None:
        return "There are no labels to measure with."
    if measure.split is None:
        return "Nothing is held out, so there is no accuracy."
    return "The labels are of one class, or of classes that are all on one side: there is no accuracy to measure."


def fresh_encoder(config: TrainConfig, source: data.Source) -> keras.Model:
    """The config's encoder with the first weights that its seed gives."""
    keras.utils.set_random_seed(config.loop.seed)
    with precision(config.loop.mixed_precision):
        kind = methods.method_class(config.method)
        network, size = encoder_and_size(config, kind.policy_of(config.augmentation, config.method_config))
        encoder = build_encoder(network, image_size=size, channels=source.channels)
        return kind.network_of(encoder, config.method_config)


def brings_weights(config: TrainConfig) -> bool:
    """Whether the network's name alone stands for trained weights."""
    return config.encoder.encoder.startswith("keras_hub/")
