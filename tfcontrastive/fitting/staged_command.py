"""What `fit` and `adapt` share: one command over one directory, from its request to its result, stage by stage."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tfcontrastive import data
from tfcontrastive.data.held_out import HELD_OUT
from tfcontrastive.fitting import leaving, memo
from tfcontrastive.fitting.clock import FILE as CLOCK
from tfcontrastive.fitting.clock import Clock
from tfcontrastive.fitting.holdout import Kept, drawn
from tfcontrastive.fitting.measure import Measured
from tfcontrastive.fitting.request import Request
from tfcontrastive.fitting.survey import Survey, require_images, survey
from tfcontrastive.fitting.suspects import Suspect, suspects, write_suspects
from tfcontrastive.runs.inputs import load_source
from tfcontrastive.runs.model_dir import ModelDir
from tfcontrastive.system.directory_lock import DirectoryLock
from tfcontrastive.system.stages import Stages


class StagedCommand:
    """A command that claims its directory, keeps its time, and goes on where it was stopped.

    Args:
        request: what is asked for.
        overwrite: what lies in its directory is moved aside.
        stages: told as each of `STAGES` begins.
        started: when the command began, by `time.monotonic`; default: now.
        lock: of the directory.
    """

    STAGES: ClassVar[Sequence[str]]
    MEMO: ClassVar[str] = memo.FILE

    def __init__(
        self,
        request: Request,
        *,
        overwrite: bool = False,
        stages: Stages,
        started: float | None = None,
        lock: DirectoryLock | None = None,
    ):
        self.stages, self.say, self.lock = stages, stages.say, lock
        self.directory = ModelDir(request.config.loop.model_dir)
        self.memo = memo.Memo(self.directory.path, self.MEMO)
        self.source = self.read(request)
        self.request = self.memo.claim(request, overwrite=overwrite)
        if lock is not None:
            lock.take()  # of a directory that is new, or has taken the place of one that was moved aside
        if self.request.minutes != request.minutes:
            self.say(f"Going on with the {self.request.minutes:g} minutes that this directory began with.")
        self.clock = Clock(self.request.minutes, self.path(CLOCK), started=started)

    @classmethod
    def of(cls, request: Request, *, overwrite: bool = False, started: float | None = None) -> Any:
        """The result of a request, alone in its directory and with its stages shown."""
        with (
            Stages(cls.STAGES) as stages,
            DirectoryLock("output_dir", request.config.loop.model_dir) as lock,
        ):
            return cls(request, overwrite=overwrite, stages=stages, started=started, lock=lock).run()

    def read(self, request: Request) -> data.Source:
        """The images; what cannot be read is refused here, before anything is written."""
        source = load_source(request.config)
        require_images(source)
        return source

    def look_at_images(self) -> tuple[Survey, Kept]:
        """What the images are, and the config and the images with those that are held out apart."""
        seen = survey(self.source, self.directory.bad_files)
        for line in seen.lines():
            self.say(line)
        list_of_held_out, by_path = self.path(f"{HELD_OUT}.json"), self.request.folder is not None
        return seen, drawn(self.request.config, self.source, seen, list_of_held_out, by_path=by_path, say=self.say)

    def run(self) -> Any:
        """All stages."""
        raise NotImplementedError

    def path(self, name: str) -> str:
        """Of a file in the directory."""
        return os.path.join(self.directory.path, name)

    def begin(self, name: str) -> None:
        """The next stage, by the name that its time is kept under."""
        self.stages.next()
        self.clock.stage(name)

    def leave_vectors(
        self, own: Measured, seen: Survey, ids: Sequence[str], splits: Sequence[str], group: Any
    ) -> list[Suspect]:
        """Writes each image's vector and, of classes, the labels that are doubted, which it returns.

        Args:
            own: the encoder that is left.
            seen: what the images are.
            ids, splits, group: of each image, as `rows_of` gives them.
        """
        names, features = seen.class_names, own.features
        leaving.write_embeddings(self.path(leaving.EMBEDDINGS), features, ids, names, splits)
        if not names:
            return []
        doubted = suspects(features.everywhere(), features.all_labels(), group, len(names))
        write_suspects(self.path(leaving.SUSPECTS), doubted, ids, names)
        return doubted

    def problems(self, saved_model: str) -> list[str]:
        """What of the SavedModel does not work, tried now or when this command ended the last time."""
        before = leaving.checked_before(self.path(leaving.METRICS), saved_model)
        return leaving.check(saved_model) if before is None else before

    def leave_numbers(
        self, measured: Sequence[Measured], chance: Mapping[str, float], facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Ends the clock, and writes metrics.json, which it returns.

        Args:
            measured: every encoder.
            chance: of `measure.chance`.
            facts: of the command.
        """
        self.clock.end()
        seconds = {name: round(spent, 1) for name, spent in self.clock.stages.items()}
        facts = {**facts, "stages": seconds, "seconds": self.clock.seconds()}
        return leaving.write_numbers(self.path(leaving.METRICS), self.request, measured, chance, facts)
