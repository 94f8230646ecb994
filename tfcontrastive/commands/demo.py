"""`tfcontrastive demo`: `fit` of the embedded images, beside the same network trained with all labels."""

from __future__ import annotations

import time
from collections.abc import Sequence

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.fit import run_stages, show
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError, TrainConfig, flat_fields
from tfcontrastive.fitting.request import Request

RECIPE = "record_5min"


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and runs the demo."""
    started = time.monotonic()
    values = demo_flags()
    if any(arg in ("--help", "-h", "-help") for arg in argv):
        title = f"tfcontrastive demo: fit the embedded images with --recipe={RECIPE}, beside training with all labels."
        print(command_line.help_text(title, {"Flags": values}))
        return 0
    command_line.parse(command_line.expand(argv), values)
    if values["output_dir"].value is None:
        raise InputError("`output_dir` must be given: tfcontrastive demo --output_dir=demo_run.")
    given = {
        name: values[name].value for name in ("train_epochs", "train_split", "log_to") if values[name].value is not None
    }
    minutes = None if "train_epochs" in given else values["minutes"].value
    config = demo_config(values["output_dir"].value, values["seed"].value, **given)
    request = demo_request(config, minutes)
    show_own_messages()
    show(run_stages(request, overwrite=values["overwrite"].value, started=started))
    return 0


def demo_flags() -> flags.FlagValues:
    """The demo's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("output_dir", None, "Where everything goes; a demo that was stopped goes on there.", values)
    flags.DEFINE_float("minutes", 6.0, "Time for everything; sets the length of the training.", flag_values=values)
    flags.DEFINE_integer("train_epochs", None, "Epochs of training, whatever they take.", flag_values=values)
    flags.DEFINE_string("train_split", None, "Part of the images, such as train[:20%]; default: all.", values)
    flags.DEFINE_string("log_to", None, "Also log to mlflow:URI, wandb or wandb:PROJECT.", values)
    flags.DEFINE_integer("seed", 0, "Seed of everything.", flag_values=values)
    flags.DEFINE_boolean("overwrite", False, "Move what is in output_dir aside and start anew.", values)
    return values


def demo_config(output_dir: str, seed: int = 0, **changes: object) -> TrainConfig:
    """The recipe's config, without mirroring, into a directory, with other values where given."""
    from tfcontrastive.methods import SimCLRConfig

    # Its shoes all point to the left: not mirrored, one run of 8 epochs gave a linear probe 84.8%, mirrored 83.4%.
    changes = {"model_dir": output_dir, "seed": seed, "keep_orientation": True, **changes}
    changes["train_minutes"] = 0  # --minutes are those of everything
    given = [f"--{name}={value}" for name, value in changes.items()]
    argv = command_line.expand([f"--recipe={RECIPE}", *given])
    base, values = TrainConfig(method_config=SimCLRConfig()), flags.FlagValues()
    command_line.define(base, values)
    command_line.parse(argv, values)
    return command_line.of_recipe(
        command_line.from_flags(base, values), {*command_line.given(given), "train_batch_size"}
    )


def demo_request(config: TrainConfig, minutes: float | None) -> Request:
    """The request of a demo: everything but the length is asked for."""
    length = {"train_steps", *(() if minutes is None else ("train_epochs",)), "mixed_precision", "warmup_epochs"}
    asked = frozenset(flat_fields(config)) - length - {"checkpoint_steps"}
    return Request(config, asked, minutes, comparison="supervised")
