"""`tfcontrastive embed`: a collection of images to files of vectors."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from absl import flags
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError
from tfcontrastive.system.names import escaped, plain_console

MODEL_FILE = "saved_model.txt"  # in the output: where the model was, so that `search` finds it
TITLE = """tfcontrastive embed: one vector for each image of a collection.

Example: tfcontrastive embed --saved_model=exported --dataset=folder:photos --output=vectors
A run that was stopped goes on where it was, unless images have changed since. Images that cannot be read are skipped and
listed in bad_files.txt. In a Parquet set such files begin with `_`: pandas.read_parquet("vectors") reads the folder."""

_SHOWN = 5
_LOOKED_AT = 64  # images, for values that would come out dark


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and embeds."""
    values = embed_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(command_line.help_text(TITLE, {"Flags": values}))
        return 0
    command_line.parse(command_line.expand(argv), values)
    options = {name: values[name].value for name in values}
    for name in ("saved_model", "dataset", "output"):
        if options[name] is None:
            raise InputError(
                f"`{name}` must be given: tfcontrastive embed --saved_model=exported --dataset=SPEC --output=DIR."
            )
    show_own_messages()
    from tfcontrastive import export
    from tfcontrastive.export.manifest import write_side_file

    saved_model = export.latest_version(options["saved_model"])
    items, source, total = open_items(options, saved_model)
    with Meter(total) as meter:
        done = export.embed_images(
            saved_model,
            items,
            options["output"],
            source=source,
            progress=meter.update,
            **{name: options[name] for name in ("format", "dtype", "normalize", "batch_size", "shard_rows")},
        )
    place = saved_model if "://" in saved_model else os.path.abspath(saved_model)
    write_side_file(options["output"], MODEL_FILE, options["format"], escaped(place) + "\n")
    show(done, options["output"], options["format"])
    return 0


class Meter:
    """How far it is, and images per second: a live line on a terminal, a plain one now and then elsewhere."""

    seconds_between_lines = 30.0

    def __init__(self, total: int):
        columns = (TextColumn("embedding"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        console = plain_console(stderr=True)
        self._bar = Progress(
            *columns, TextColumn("{task.fields[rate]}", markup=False), console=console, disable=not sys.stderr.isatty()
        )
        self._task = self._bar.add_task("", total=total, rate="")
        self._total = total
        self._since: tuple[float, int] | None = None
        self._shown = time.monotonic()

    def __enter__(self) -> Meter:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, rows: int, bad: int) -> None:
        """Takes the numbers of vectors written and of images left out so far."""
        now, done = time.monotonic(), rows + bad
        if self._since is None:  # the first batch compiles
            self._since = now, done
        rate = (done - self._since[1]) / max(now - self._since[0], 1e-9)
        self._bar.update(self._task, completed=done, rate=f"{rate:,.0f} images/s" if rate else "")
        if self._bar.disable and now - self._shown >= self.seconds_between_lines:
            self._shown = now
            print(f"embedding: {done:,} of {self._total:,}  {rate:,.0f} images/s", file=sys.stderr, flush=True)


def embed_flags() -> flags.FlagValues:
    """The command's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("saved_model", None, "An exported model, or the base of its versions.", values)
    flags.DEFINE_string(
        "dataset", None, "folder:PATH (any tree of images), a TFDS name, tfrecord:GLOB, npz:FILE or embedded.", values
    )
    flags.DEFINE_string("output", None, "Directory of the vectors.", values)
    flags.DEFINE_enum("format", "npy", ["npy", "parquet", "tfrecord"], "npy, parquet or tfrecord.", values)
    flags.DEFINE_enum(
        "dtype", "float32", ["float32", "float16", "int8"], "float32, float16 or int8 (with a scale a vector).", values
    )
    flags.DEFINE_string(
        "split", None, "Split of the data set; default: its only one, and all images of a folder.", values
    )
    flags.DEFINE_string("data_dir", None, "Directory of prepared tensorflow-datasets.", values)
    flags.DEFINE_boolean(
        "content_hash",
        False,
        "With folder:PATH, whether images count as changed when their content does; default: size or time.",
        values,
    )
    flags.DEFINE_string(
        "intensity_range", None, "LOW,HIGH: values of 16-bit images that become black and white; default: the model's.",
        values,
    )  # fmt: skip
    flags.DEFINE_boolean("normalize", False, "Vectors of unit length.", values)
    flags.DEFINE_integer("batch_size", 64, "Images a call.", flag_values=values)
    flags.DEFINE_integer("shard_rows", 8192, "Vectors a file.", flag_values=values)
    return values


def open_items(options: dict[str, Any], saved_model: str) -> tuple[Any, str, int]:
    """The images, what they are called in the set's manifest, and how many there are."""
    from tfcontrastive import data, export
    from tfcontrastive.data.depth import facts_of, refuse_dark
    from tfcontrastive.data.encoded import EncodedSource
    from tfcontrastive.data.paths import local_path
    from tfcontrastive.data.rendering import render_as

    spec, split = options["dataset"], options["split"]
    if options["content_hash"] and not spec.startswith("folder:"):
        raise InputError("`content_hash` must be left out with other data sets than folder:PATH.")
    card = export.read_card(saved_model)
    rule = card.get("preprocessing", {})
    asked = render_as(None, options["intensity_range"])
    rendering = data.Preprocessing(**rule.get("rule", {})).rendering(asked)
    if spec.startswith("folder:"):
        folder = os.path.abspath(local_path(spec.removeprefix("folder:")))
        items = export.folder_items(folder, split, rendering=asked, content_hash=options["content_hash"])
        shown = [content for _, content, _ in itertools.islice(items(0), _LOOKED_AT) if isinstance(content, bytes)]
        refuse_dark(spec, [(one.low, one.high) for one in facts_of(shown)], rendering)
        return items, f"folder:{folder}", len(items)
    if not card:
        raise InputError(f"`saved_model` must be written by tfcontrastive. Received: {saved_model}.")
    source = data.load(spec, data_dir=options["data_dir"], intensity_range=options["intensity_range"])
    if split is None and len(source.splits) != 1:
        raise InputError(f"`split` must be given: one of {', '.join(source.splits)}.")
    split = split or source.splits[0]
    total, name = source.num_examples(split), f"{_absolute(spec)} {split}"
    if isinstance(source, EncodedSource) and "image_bytes" in card["signatures"]:
        source.rendered(rendering).look(split)
        return export.encoded_items(source, split, rendering=asked), name, total
    source = source.decoded_to(rule["channels"])
    if source.channels != rule["channels"]:
        raise InputError(
            f"`dataset` must have images of {rule['channels']} channels, as the model. Received: {source.channels}."
        )

    def batches():
        return data.eval_batches(
            source,
            split,
            batch_size=options["batch_size"],
            image_size=rule["image_size"],
            preprocessing=data.Preprocessing(**rule.get("rule", {})),
        )

    return export.dataset_items(batches, f"{split}/", source=source), name, total


def _absolute(spec: str) -> str:
    """A spec of local files that means the same from every directory."""
    kind, _, where = spec.partition(":")
    if kind not in ("tfrecord", "npz") or "://" in where:
        return spec
    return f"{kind}:{os.path.abspath(os.path.expanduser(where))}"


def show(done: Any, output: str, format: str) -> None:
    """What was done, and which images were left out."""
    from tfcontrastive.export.manifest import BAD_FILES, side_file

    speed = f"{done.images_per_second:,.1f} images/s" if done.images_per_second else "all were there already"
    print(f"{done.rows:,} vectors in {escaped(output)}; {speed}")
    if done.skipped:
        listing = os.path.join(output, side_file(BAD_FILES, format))
        print(f"left out, and listed in {escaped(listing)}: {len(done.skipped):,}")
        for name, reason in done.skipped[:_SHOWN]:
            print(f"  {escaped(name)}: {reason}")
        if len(done.skipped) > _SHOWN:
            print("  ...")
