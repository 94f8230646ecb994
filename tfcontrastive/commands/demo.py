"""`tfcontrastive demo`: train on the embedded images, measure, report."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from absl import flags

from tfcontrastive import flags as command_line
from tfcontrastive.commands.logs import show_own_messages
from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.system.names import escaped, plain_console
from tfcontrastive.system.stages import Stages
from tfcontrastive.system.tables import show_table

RECIPE = "embedded_simclr"
STAGES = (
    "pre-training without labels",
    "measuring raw pixels, the untrained encoder and the trained one",
    "supervised training, for comparison",
    "measuring the supervised encoder",
    "SavedModel and report",
)


def run(argv: Sequence[str]) -> int:
    """Parses the arguments and runs the demo."""
    values = demo_flags()
    if any(word in ("--help", "-h", "-help") for word in argv):
        print(
            command_line.help_text(
                f"tfcontrastive demo: train with --recipe={RECIPE}, measure, report.", {"Flags": values}
            )
        )
        return 0
    command_line.parse(command_line.expand(argv), values)
    if values["output_dir"].value is None:
        raise InputError("`output_dir` must be given: tfcontrastive demo --output_dir=demo_run.")
    given = {name: values[name].value for name in ("train_epochs", "train_split") if values[name].value is not None}
    minutes = None if "train_epochs" in given else values["minutes"].value
    if minutes is not None and not minutes > 0:
        raise InputError(f"`minutes` must be > 0. Received: minutes={minutes}.")
    config = demo_config(values["output_dir"].value, values["seed"].value, **given)
    start = time.monotonic()
    with Stages(STAGES) as stages:
        show_own_messages()
        from tfcontrastive.commands.run_demo import run_demo

        metrics = run_demo(config, minutes=minutes, overwrite=values["overwrite"].value, stages=stages, start=start)
    show(metrics, config.loop.model_dir)
    return 0


def demo_flags() -> flags.FlagValues:
    """The demo's own flags."""
    values = flags.FlagValues()
    flags.DEFINE_string("output_dir", None, "Where everything goes; a demo that was stopped goes on there.", values)
    flags.DEFINE_float("minutes", 6.0, "Time for everything; sets the length of the training.", flag_values=values)
    flags.DEFINE_integer("train_epochs", None, "Epochs of training, whatever they take.", flag_values=values)
    flags.DEFINE_string("train_split", None, "Part of the images, such as train[:20%]; default: all.", values)
    flags.DEFINE_integer("seed", 0, "Seed of everything.", flag_values=values)
    flags.DEFINE_boolean("overwrite", False, "Move what is in output_dir aside and start anew.", values)
    return values


def demo_config(output_dir: str, seed: int = 0, **changes: object) -> TrainConfig:
    """The recipe's config, into a directory, with other values where given."""
    from tfcontrastive.methods import SimCLRConfig

    changes = {"model_dir": output_dir, "seed": seed, **changes}
    given = [f"--{name}={value}" for name, value in changes.items()]
    argv = command_line.expand([f"--recipe={RECIPE}", *given])
    base, values = TrainConfig(method_config=SimCLRConfig()), flags.FlagValues()
    command_line.define(base, values)
    command_line.parse(argv, values)
    return command_line.of_recipe(
        command_line.from_flags(base, values), {*command_line.given(given), "train_batch_size"}
    )


def show(metrics: dict, output_dir: str) -> None:
    """The table of results, and where things are."""
    rows = []
    for name in ("raw_pixels", "random", "trained", "supervised"):
        row = metrics[name]
        seconds = f"{row['train_seconds']:.0f} s" if row["train_seconds"] else None
        rows.append((name.replace("_", " "), f"{row['knn_top1']:.1%}", f"{row['linear_top1']:.1%}", seconds))
    columns = ("encoder", "kNN top-1", "linear top-1", "training")
    show_table("Frozen features, 2,000 test images", columns, rows, right=columns[1:])
    console = plain_console()
    console.print(f"Everything took {metrics['seconds']:.0f} s.", highlight=False)
    for what, path in (
        ("report", "report.html"),
        ("numbers", "comparison.json"),
        ("SavedModel", os.path.join("saved_model", "1")),
    ):
        console.print(f"{what:>11}  {escaped(os.path.join(output_dir, path))}", highlight=False, soft_wrap=True)
    console.print(
        f"TensorBoard  tensorboard --logdir {escaped(os.path.join(output_dir, 'logs'))}",
        highlight=False,
        soft_wrap=True,
    )
