"""`tfcontrastive fit`: from a folder of images to a measured encoder, in one command."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.commands.train import config_of, foreign_flags
from tfcontrastive.config import InputError, TrainConfig, flat_fields
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.fitting.request import make_request
from tfcontrastive.system.names import escaped, plain_console
from tfcontrastive.system.tables import show_table

TITLE = """tfcontrastive fit WHAT: learn an encoder from your own images, measure it, and leave it ready to use.

WHAT is a folder of images (its sub-folders are classes, where there are any), or what --dataset of train takes: npz:FILE,
tfrecord:GLOB, embedded, or a name of tensorflow-datasets. What is not asked for is decided, and the reason said.
Stopped at any moment, the same command goes on.

Example: tfcontrastive fit photos --minutes=20 --output_dir=photos_fit"""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and runs every stage."""
    started = time.monotonic()
    given, argv = command_line.given(argv), command_line.expand(argv)
    wants_help = any(arg in ("--help", "-h", "-help") for arg in argv)
    name = command_line.peek([arg for arg in argv if arg not in ("--help", "-h", "-help")], "method", "simclr")
    base = TrainConfig(method=name, method_config=config_of(name))
    values = own_flags()
    if wants_help:
        print(help_text(name, base, values))
        return 0
    command_line.define(base, values)
    what = command_line.parse(argv, values, foreign=foreign_flags(name), positional=True)
    known = flat_fields(base)
    settings: dict[str, Any] = {setting: values[setting].value for setting in known if values[setting].present}
    for flag, argument in (("model_dir", "--output_dir"), ("dataset", "WHAT")):
        if flag in given:
            raise InputError(f"`--{flag}` is not a flag of this command. Did you mean {argument}?")
        settings.pop(flag, None)  # a recipe names its own images
    if len(what) != 1:
        raise InputError(
            f"`WHAT` must be one folder or data set: tfcontrastive fit photos. Received: {len(what)} of them."
        )
    # A recipe's length yields to --minutes; its own minutes are those of the training alone.
    yielding = {"train_minutes"} | ({"train_steps", "train_epochs"} if "minutes" in given else set())
    for length in yielding - given:
        settings.pop(length, None)
    asked_length = {"train_steps", "train_epochs"} & settings.keys()
    minutes = None if asked_length and not values["minutes"].present else values["minutes"].value
    request = make_request(what[0], minutes=minutes, output_dir=values["output_dir"].value, **settings)
    show_own_messages()
    if values["dry_run"].value:
        from tfcontrastive.fitting.describing import describe

        print("\n".join(describe(request)))
        return 0
    show(run_stages(request, overwrite=values["overwrite"].value, started=started))
    return 0


def run_stages(request: Any, *, overwrite: bool, started: float) -> Any:
    """The result of a request, of `adapt` by its config and else of `fit`, with its stages shown."""
    if isinstance(request.config, AdaptConfig):
        from tfcontrastive.fitting.adapting import Adapting

        return Adapting.of(request, overwrite=overwrite, started=started)
    from tfcontrastive.fitting.stages import Fitting

    return Fitting.of(request, overwrite=overwrite, started=started)


def own_flags() -> flags.FlagValues:
    """The flags that the command has beside those of `train`."""
    values = flags.FlagValues()
    flags.DEFINE_float("minutes", 20.0, "Time for everything; sets the length of the training.", flag_values=values)
    flags.DEFINE_string("output_dir", None, "Where everything goes; default: the images' name and _fit.", values)
    flags.DEFINE_boolean("dry_run", False, "Print what would be decided, and exit. Nothing is written.", values)
    flags.DEFINE_boolean("overwrite", False, "Move what is in output_dir aside and start anew.", values)
    flags.DEFINE_string("recipe", None, "A packaged flag file; flags on the command line override it.", values)
    flags.DEFINE_string("flagfile", None, "A file of flags, one a line.", values)
    return values


def help_text(name: str, base: TrainConfig, values: flags.FlagValues) -> str:
    """The help: the command's own flags, then those that are decided where they are not given."""
    groups: dict[str, Any] = {
        "Flags": values,
        "Data (what is not given is decided)": base.data,
        "Augmentation": base.augmentation,
        f"Method, --method={name}": base.method_config,
        "Encoder": base.encoder,
        "Optimizer": base.optimizer,
        "Run": base.loop,
    }
    return command_line.help_text(TITLE, groups)


def show(result: Any) -> None:
    """The verdict, the table, where things are, and what comes next."""
    from tfcontrastive.fitting.result import COLUMNS

    console = plain_console()
    show_table(f"Frozen features, {result.measured_on}", COLUMNS, result.rows(), right=COLUMNS[1:])
    for sentence in result.verdict:
        console.print(sentence, highlight=False)
    console.print(f"Everything took {result.metrics['seconds']:.0f} s.", highlight=False)
    for what, path in result.files().items():
        console.print(f"{what:>11}  {escaped(path)}", highlight=False, soft_wrap=True)
    console.print("Next:", highlight=False)
    for line in result.next_commands:
        console.print(f"  {line}", highlight=False, soft_wrap=True)
