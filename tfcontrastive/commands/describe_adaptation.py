"""What an adaptation would be, told before it starts."""

from __future__ import annotations

import dataclasses
import tempfile
from typing import Any

from tfcontrastive.commands.describe import count_of, data_line, memory_line, schedule_lines, settings_lines
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.downstream.adapt import adapting
from tfcontrastive.fitting.adapting import FILE, Adapting
from tfcontrastive.fitting.memo import Memo
from tfcontrastive.fitting.request import Request
from tfcontrastive.pretrained.trained import load_trained
from tfcontrastive.runs.inputs import load_source


def describe_adaptation(request: Request[AdaptConfig], *, overwrite: bool = False) -> str:
    """The text of `adapt --dry_run`: what the images are, which parts they are set apart in, and the training.

    It goes the way of a run as far as its first measurement, in a directory of its own that is gone afterwards: what a run
    refuses is refused. How fast the machine trains is not measured.

    Args:
        request: what is asked for.
        overwrite: what lies in its directory would be moved aside.

    Raises:
        InputError: as `adapt`.
    """
    config, before = request.config, None
    if not overwrite:
        memo = Memo(config.loop.model_dir, FILE)
        memo.check(request)
        before = memo.decided()
    source = load_source(config, fetch=False)
    if source.missing:
        load_trained(
            checkpoint=config.checkpoint, saved_model=config.saved_model, image_size=config.data.image_size
        )  # the encoder at least is here
        return "\n".join([*settings_lines(config), "", data_line(source, None)])
    with tempfile.TemporaryDirectory() as folder:
        loop = dataclasses.replace(config.loop, model_dir=folder)
        told = _Told()
        stages: Any = told
        command = Adapting(dataclasses.replace(request, config=dataclasses.replace(config, loop=loop)), stages=stages)
        scene = command.look()
        made = adapting(
            scene.config, scene.start, scene.parts.source, lambda encoder: _not_read(), labelled=scene.parts.labelled
        ).prepare(anew=True)
    lines = [line.replace(folder, config.loop.model_dir) for line in told.lines]
    return "\n".join(
        [
            *settings_lines(_in_place(made.config, config)),
            "",
            *lines,
            f"encoder         {scene.start.name}, {count_of(made.model.encoder.variables):,} parameters",
            *_licence(scene.start.facts),
            data_line(scene.parts.source, made.plan),
            f"measured on     {scene.measure.split or 'nothing: all images are learned from'}",
            *_length(request, before, made.plan),
            memory_line(made.cost),
        ]
    )


class _Told:
    """Keeps the lines that a command says, in place of a terminal."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.say = self.lines.append

    def next(self) -> None:
        """A stage begins."""


def _not_read() -> Any:
    raise AssertionError("a dry run measures nothing")


def _in_place(made: AdaptConfig, asked: AdaptConfig) -> AdaptConfig:
    """The config with the paths that a run would have."""
    held_out = asked.data.held_out
    return dataclasses.replace(
        made,
        loop=dataclasses.replace(made.loop, model_dir=asked.loop.model_dir),
        data=dataclasses.replace(made.data, held_out=held_out),
    )


def _licence(facts: dict[str, Any]) -> list[str]:
    return [f"licence         {facts['licence']}, of the encoder's weights"] if "licence" in facts else []


def _length(request: Request[AdaptConfig], before: Any, plan: Any) -> list[str]:
    if before is not None:
        return [f"steps           {before.config.loop.train_steps:,}, as this directory began with; it would go on"]
    if request.minutes is not None and not request.asked & {"train_steps", "train_epochs"}:
        return [f"steps           as many as fit into {request.minutes:g} minutes here, which is measured then"]
    return schedule_lines(plan)
