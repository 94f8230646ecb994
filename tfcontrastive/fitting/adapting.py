"""The stages of `adapt`: a trained encoder, own images, and the proof of whether going on with them helped."""

from __future__ import annotations

import dataclasses
import os
import time
from typing import Any

import keras

from tfcontrastive import data, distribute, evaluate, export
from tfcontrastive.callbacks.keep_best import KeepBest
from tfcontrastive.callbacks.loggers import attach_page
from tfcontrastive.config import DataConfig, nested, replace_flat
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.downstream.adapt import Adaptation, adapted_encoder, adapting, check_start, own_size
from tfcontrastive.downstream.instances import Instances
from tfcontrastive.encoders.rebuild import rebuild
from tfcontrastive.fitting import adapt_page, leaving, unlabelled
from tfcontrastive.fitting.adapt_request import make_request
from tfcontrastive.fitting.adapt_result import AdaptResult
from tfcontrastive.fitting.choices import Choice, augmentation, batch_of
from tfcontrastive.fitting.choosing import FILE as CHOOSING
from tfcontrastive.fitting.choosing import Chooser, Parts, parts_of
from tfcontrastive.fitting.duplicates import together
from tfcontrastive.fitting.galleries import Story, neighbours
from tfcontrastive.fitting.holdout import kept_rows
from tfcontrastive.fitting.judging import Judgement, judge, verdict
from tfcontrastive.fitting.measure import MOST, Measure, Measured, chance, require_finite
from tfcontrastive.fitting.memo import Decided
from tfcontrastive.fitting.pictures import Pictures
from tfcontrastive.fitting.request import Request
from tfcontrastive.fitting.rows import measured_splits, rows_of
from tfcontrastive.fitting.staged_command import StagedCommand
from tfcontrastive.fitting.survey import Survey
from tfcontrastive.pretrained.trained import Trained, load_trained
from tfcontrastive.runs.builders import precision
from tfcontrastive.runs.inputs import eval_split
from tfcontrastive.runs.loop import Finished
from tfcontrastive.runs.pace import pace_of
from tfcontrastive.runs.pretrain import TrainResult
from tfcontrastive.runs.schedule import filled_in

FILE = "adapt.json"
"""What was asked for and decided."""

_RETRIEVED = 500  # images that are looked for by their views
_VIEWS = 3  # of each
_LEAVING_SECONDS = 45.0
_MARGIN = 0.95  # of the minutes
_BESIDE = 1.3  # of the first measurement's time, for the last one


def adapt(
    what: str | os.PathLike,
    *,
    checkpoint: str | os.PathLike | None = None,
    saved_model: str | os.PathLike | None = None,
    minutes: float | None = 20.0,
    output_dir: str | os.PathLike | None = None,
    overwrite: bool = False,
    **settings: Any,
) -> AdaptResult:
    """Goes on training an encoder with your own images, and keeps what came out only where held-out images prefer it.

    The encoder is measured as it is; then it learns from views of the images, without labels, with a small rate that is
    smaller still in lower layers, which join in one by one, and an anchor to its first features. Every so often it is
    measured on images that choose, which it does not learn from. The best state is taken where its gain is beyond chance
    and a margin; else the encoder is returned as it was. Either way, both are measured on a third part of the images.
    Stopped at any moment and called again it goes on.

    Args:
        what: a folder of images, whose sub-folders are classes where there are any; or what `tfcontrastive.data.load` takes.
        checkpoint: the encoder: the directory of a run, or published weights.
        saved_model: an export whose encoder it is, instead.
        minutes: that the whole may take; None with `train_epochs` or `train_steps`, whatever they take.
        output_dir: where everything goes; default: the images' name and `_adapted`.
        overwrite: what lies there is moved aside.
        **settings: by the names of `tfcontrastive adapt`'s flags: `objective="simclr"`, `margin=0.01`, `image_size=96`, ...

    Returns:
        the result; its files are in `output_dir`.

    Raises:
        InputError: no such images or encoder, too few images, settings that do not work, or a directory of something else.

    Examples:
        >>> r = adapt("photos", checkpoint="runs/a", minutes=20)
        >>> r.chosen, r.metrics["frozen"]["knn_top1"], r.metrics["adapted"]["knn_top1"]
        >>> features = r.encoder(images)
    """
    paths: dict[str, Any] = {"checkpoint": checkpoint, "saved_model": saved_model}
    settings |= {name: os.fspath(path) for name, path in paths.items() if path is not None}
    request = make_request(what, minutes=minutes, output_dir=output_dir, **settings)
    return Adapting.of(request, overwrite=overwrite)


@dataclasses.dataclass(frozen=True)
class Scene:
    """What an adaptation has at hand once its images and its encoder are known.

    Attributes:
        decided: the config, with the held-out images and the size of all, and why.
        goes_on: all of it was decided before, its length too.
        seen: what the images are.
        start: the encoder.
        source: the images, those that are reported on apart.
        parts: the others, for each purpose.
        preprocessing: of the encoder.
    """

    decided: Decided
    goes_on: bool
    seen: Survey
    start: Trained
    source: data.Source
    parts: Parts
    preprocessing: data.Preprocessing

    @property
    def config(self) -> AdaptConfig:
        """Of the run."""
        return self.decided.config

    @property
    def measure(self) -> Measure:
        """On the reported images, with all others to look at."""
        return Measure(self.config, self.source, eval_split(self.config, self.source), self.preprocessing)


class Adapting(StagedCommand):
    """`adapt`, from its request to its result."""

    STAGES = (
        "looking at the images",
        "measuring the encoder as it is",
        "adapting without labels",
        "measuring what came out",
        "model, vectors and report",
    )
    MEMO = FILE
    start: Trained

    def read(self, request: Request[AdaptConfig]) -> data.Source:
        """The images, in the channels of the encoder, which is read too."""
        config, source = request.config, super().read(request)
        self.start = load_trained(
            checkpoint=config.checkpoint, saved_model=config.saved_model, image_size=config.data.image_size
        )
        source = evaluate.taken_by(self.start.encoder, source)
        check_start(self.start, source)
        return source

    def run(self) -> AdaptResult:
        self.begin("look")
        scene = self.look()
        self.begin("measure_frozen")
        measured = self.measure_frozen(scene)
        self.begin("adapt")
        scene, chooser, done = self.train(scene)
        self.begin("measure_adapted")
        made = done.prepared
        judgement = self.judge(scene, made, chooser)
        adapted = adapted_encoder(scene.start, made.model.encoder, image_size=scene.config.data.image_size)
        own = scene.measure("adapted", adapted, done.seconds)
        require_finite(own)
        measured.append(self._with_retrieval(scene, own, adapted))
        self.begin("leave")
        return self.leave(scene, done, judgement, measured, adapted)

    def look(self) -> Scene:
        """The images of each purpose, and the encoder's own preprocessing and size."""
        seen, kept = self.look_at_images()
        config, start = kept.config, self.start
        size = config.data.image_size or own_size(start) or DataConfig().image_size
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, image_size=size))
        preprocessing = start.preprocessing.decoding_as(config.data)
        source = kept.source.rendered(preprocessing.rendering(kept.source.rendering))
        rows = kept_rows(seen, kept.source, config)
        part = seen.parts["train"]
        alike = together(part.group, seen.near, part.labels)
        parts = parts_of(
            source, part.labels[rows], alike[rows], self.path(CHOOSING), seed=config.loop.seed,
            num_classes=source.num_classes,
        )  # fmt: skip
        self.say(
            f"To choose by: {parts.source.num_examples('choosing'):,} images, by "
            f"{'their labels' if parts.labelled else 'their own views, as there are no labels'}; learned from: "
            f"{parts.source.num_examples('train'):,}. Listed in {self.path(CHOOSING)}."
        )
        self.say(f"{start.name}, images of {size} pixels a side.")
        before = self.memo.decided()
        decided = before or self.settle(config, parts, seen)
        return Scene(decided, before is not None, seen, start, source, parts, preprocessing)

    def measure_frozen(self, scene: Scene) -> list[Measured]:
        """Raw pixels, and the encoder as it was given."""
        frozen = self.frozen(scene)
        own = scene.measure("frozen", frozen)
        require_finite(own)
        return [scene.measure.raw_pixels(), self._with_retrieval(scene, own, frozen)]

    def frozen(self, scene: Scene) -> keras.Model:
        """The encoder as it was given, in float32, for images of this size."""
        with precision("float32"):
            return rebuild(scene.start.encoder, image_size=scene.config.data.image_size)

    def _with_retrieval(self, scene: Scene, one: Measured, encoder: keras.Model) -> Measured:
        """The same, with how often an image is found by its own view, and the LiDAR of its views."""
        some = scene.measure.some_images(_RETRIEVED)
        policy = Instances.make_policy(scene.config.augmentation)
        seed = scene.config.loop.seed
        found, lidar = unlabelled.by_views(encoder, some, policy, seeds=range(seed, seed + _VIEWS))
        return dataclasses.replace(one, metrics={**one.metrics, "retrieval_top1": float(found.mean()), "lidar": lidar})

    def train(self, scene: Scene) -> tuple[Scene, Chooser, Finished]:
        """Decides how long, as before or now, and adapts."""
        policy = Instances.make_policy(scene.config.augmentation)
        chooser = Chooser(scene.parts, scene.config, scene.preprocessing, policy)
        if scene.goes_on:
            self.say(f"Going on with what was decided: {scene.config.loop.train_steps:,} steps.")
        else:
            decided = scene.decided
            if self.request.minutes is not None and not self.request.asked & {"train_steps", "train_epochs"}:
                decided = self.with_length(scene, chooser)
            replicas = distribute.strategy_of(scene.config.loop).num_replicas_in_sync
            config, _ = filled_in(decided.config, scene.parts.source.num_examples("train"), replicas=replicas)
            scene = dataclasses.replace(scene, decided=Decided(config, decided.choices))
            self.memo.keep(self.request, scene.decided)
        run = adapting(scene.config, scene.start, scene.parts.source, chooser, labelled=scene.parts.labelled)
        done = run.train(callbacks=[self.clock.callback()], title="adapting", say=self.say, lock=self.lock)
        return scene, chooser, done

    def settle(self, config: AdaptConfig, parts: Parts, seen: Survey) -> Decided:
        """The settings that were not asked for, but the length."""
        batch, reason = batch_of(parts.source.num_examples("train"))
        choices = [Choice("train_batch_size", min(batch, 64), reason), *augmentation(seen, config.data.image_size or 0)]
        choices = [one for one in choices if one.name not in self.request.asked]
        for choice in choices:
            self.say(choice.line())
        return Decided(replace_flat(config, {one.name: one.value for one in choices}), choices)

    def with_length(self, scene: Scene, chooser: Chooser) -> Decided:
        """As many steps as the minutes leave, beside the measurements on the way and the last stages."""
        self.say("Measuring how fast this machine trains.")
        run = adapting(scene.config, scene.start, scene.parts.source, chooser, labelled=scene.parts.labelled)
        made = run.prepare(anew=True)
        began = time.monotonic()
        chooser(made.model.encoder)
        reading = time.monotonic() - began
        pace = pace_of(made.model, made.batches(0))
        other = _BESIDE * self.clock.stages.get("measure_frozen", 0.0) + _LEAVING_SECONDS
        left = _MARGIN * self.clock.left() - other - (scene.config.measurements + 1) * reading
        steps = pace.steps_in(left)
        epochs = steps * made.config.loop.train_batch_size / made.plan.num_examples
        reason = f"{epochs:.1f} epochs fit into {self.request.minutes:g} minutes with the rest"
        choice = Choice("train_steps", steps, reason)
        self.say(choice.line())
        values = {"train_steps": steps}
        if not self.request.asked & {"checkpoint_steps", "checkpoint_epochs"}:
            values["checkpoint_steps"] = max(1, round(30.0 / pace.step_seconds))
        return Decided(replace_flat(scene.config, values), [*scene.decided.choices, choice])

    def judge(self, scene: Scene, made: Adaptation, chooser: Chooser) -> Judgement:
        """Gives the model its best state, and says whether that is taken."""
        keep: KeepBest = made.measuring()
        best = keep.restore(made.model.encoder)
        config, linear = scene.config, None
        if best is not None and best["worth"] > config.margin:
            now, then = chooser.linear(made.model.encoder), chooser.linear(made.model.start)
            linear = None if now is None else (now, then)
        found = judge(best, probe=chooser.probe, margin=config.margin, certainty=config.certainty, linear=linear)
        self.say(f"{found.reason[:1].upper()}{found.reason[1:]}.")
        return found

    def leave(
        self,
        scene: Scene,
        done: Finished,
        judgement: Judgement,
        measured: list[Measured],
        adapted: keras.Model,
    ) -> AdaptResult:
        """Model, vectors, numbers and page, of the encoder that was chosen."""
        seen, measure = scene.seen, scene.measure
        config: Any = scene.config
        own = next(one for one in measured if one.name == judgement.chosen)
        encoder = adapted if judgement.chosen == "adapted" else self.frozen(scene)
        step = judgement.facts.get("step", 0) if judgement.chosen == "adapted" else 0
        card = {
            "step": step,
            "recipe": nested(config, lasting=True),
            "data": {"dataset": config.data.dataset, "image_size": config.data.image_size},
            "adapted": {"from": scene.start.name, **judgement.facts},
            "imported": scene.start.facts or None,  # whose weights they were, and under which licence
        }
        saved = export.save_once(
            encoder, self.directory.saved_model, image_size=config.data.image_size, card=card,
            preprocessing=scene.preprocessing,
        )  # fmt: skip
        ids, splits, group = rows_of(self.request, seen, scene.source, measure)
        doubted = self.leave_vectors(own, seen, ids, splits, group)
        problems = self.problems(saved)
        said = verdict(judgement, measured)
        said += [f"The SavedModel fails a check: {problem}." for problem in problems]
        made, level = done.prepared, chance(own.features)
        trained = TrainResult(config, made.model, done.metrics, scene.source, made.plan, done.views, done.seconds)
        found = AdaptResult(
            output_dir=self.directory.path, metrics={}, verdict=said, survey=seen, choices=scene.decided.choices,
            trained=trained, measured=measured, ids=ids, splits=splits,
            next_commands=leaving.next_commands(self.request, config, ids),
            chosen=judgement.chosen, reason=judgement.reason, network=encoder, start=scene.start,
        )  # fmt: skip
        groups = unlabelled.clusters(own.features.everywhere(), seed=config.loop.seed)
        pictures = Pictures(scene.source, measured_splits(measure), MOST)
        story = Story(found, self.request, measure, level, group, doubted, groups, pictures)
        written = adapt_page.write_page(self.path(leaving.PAGE), story, made.measuring().rows, judgement)
        attach_page(config.loop.log_to, self.directory.path, written)
        facts = {
            **judgement.facts,
            "from": scene.start.name,
            "steps": made.plan.steps,
            "verdict": said,
            "saved_model": saved,
            "saved_model_problems": problems,
            "images": _counts(scene),
        }
        metrics = self.leave_numbers(measured, level, facts)
        return dataclasses.replace(found, metrics=metrics, shown=(adapt_page.results(story), neighbours(story)))


def _counts(scene: Scene) -> dict[str, int]:
    """How many images learn, choose and report."""
    split = scene.measure.split
    found = {name: scene.parts.source.num_examples(name) for name in ("train", "choosing")}
    return found | ({"reported": scene.source.num_examples(split)} if split is not None else {})
