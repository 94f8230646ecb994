"""`tfcontrastive adapt`: a trained encoder goes on with own images, and is handed over only where that helped."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.fit import run_stages, show
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError, flat_fields
from tfcontrastive.config.adapt import OF_THE_OPTIMIZER, AdaptConfig
from tfcontrastive.fitting.adapt_request import make_request

TITLE = """tfcontrastive adapt: go on training an encoder with your own images; what comes out is kept only if it is better.

The encoder is a run, an export or published weights. Its images need no labels; with some, they choose by them. A part
of the images chooses, and another is reported on; neither is learned from. Stopped at any moment, the same command goes on.

Example: tfcontrastive adapt --checkpoint=runs/a --dataset=folder:photos --minutes=20 --output_dir=adapted"""


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and runs every stage."""
    started = time.monotonic()
    given, argv = command_line.given(argv), command_line.expand(argv)
    base, values = AdaptConfig(), own_flags()
    if any(arg in ("--help", "-h", "-help") for arg in argv):
        print(help_text(base, values))
        return 0
    command_line.define(base, values)
    command_line.parse(argv, values)
    if "model_dir" in given:
        raise InputError("`--model_dir` is not a flag of this command. Did you mean --output_dir?")
    known = [name for name in flat_fields(base) if name in values]
    settings: dict[str, Any] = {name: values[name].value for name in known if values[name].present}
    settings.pop("model_dir", None)
    dataset = settings.pop("dataset", None)
    if dataset is None:
        raise InputError("`dataset` must be given: tfcontrastive adapt --checkpoint=FILE --dataset=folder:photos.")
    asked_length = {"train_steps", "train_epochs"} & settings.keys()
    minutes = None if asked_length and not values["minutes"].present else values["minutes"].value
    request = make_request(dataset, minutes=minutes, output_dir=values["output_dir"].value, **settings)
    show_own_messages()
    if values["dry_run"].value:
        from tfcontrastive.commands.describe_adaptation import describe_adaptation

        print(describe_adaptation(request, overwrite=values["overwrite"].value))
        return 0
    show(run_stages(request, overwrite=values["overwrite"].value, started=started))
    return 0


def own_flags() -> flags.FlagValues:
    """The flags that the command has beside those of the config."""
    values = flags.FlagValues()
    flags.DEFINE_float("minutes", 20.0, "Time for everything; sets the length of the training.", flag_values=values)
    flags.DEFINE_string("output_dir", None, "Where everything goes; default: the images' name and _adapted.", values)
    flags.DEFINE_boolean("dry_run", False, "Print what would run, and exit. Nothing is fetched or written.", values)
    flags.DEFINE_boolean("overwrite", False, "Move what is in output_dir aside and start anew.", values)
    flags.DEFINE_string("flagfile", None, "A file of flags, one a line.", values)
    return values


def help_text(base: AdaptConfig, values: flags.FlagValues) -> str:
    """The help: the command's own flags, then those of the config."""
    nested: dict[str, Any] = {"Data": base.data, "Augmentation": base.augmentation, "Run": base.loop}
    inside = {name for group in nested.values() for name in flat_fields(group)} | set(flat_fields(base.optimizer))
    known = flags.FlagValues()
    command_line.define(base, known)
    own, rates = flags.FlagValues(), flags.FlagValues()
    for name in known:
        if name not in inside and name in flat_fields(base):
            own[name] = known[name]
    for name in OF_THE_OPTIMIZER:
        rates[name] = known[name]
    return command_line.help_text(TITLE, {"Flags": values, "Adaptation": own, "Adam": rates, **nested})
