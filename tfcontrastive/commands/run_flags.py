"""The flags that every command with a run of its own has beside the run's config."""

from __future__ import annotations

import dataclasses
from typing import Any

from absl import flags

from tfcontrastive.config import EncoderConfig, InputError


def run_flags(directory: str) -> flags.FlagValues:
    """Defines them.

    Args:
        directory: the name of the flag that says where the run is, for the help.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("recipe", None, "A packaged flag file; flags on the command line override it.", values)
    flags.DEFINE_string("flagfile", None, "A file of flags, one a line.", values)
    flags.DEFINE_boolean("overwrite", False, f"Move another run's {directory} aside and start anew.", values)
    flags.DEFINE_boolean("dry_run", False, "Print what would run, and exit. Nothing is fetched or written.", values)
    flags.DEFINE_boolean("allow_config_change", False, "Go on from a checkpoint with another configuration.", values)
    flags.DEFINE_enum(
        "mode",
        "train",
        ["train", "eval", "train_then_eval"],
        "train (which ends with an evaluation), or eval: evaluate the newest checkpoint.",
        values,
    )
    return values


def whose(values: flags.FlagValues) -> dict[str, Any]:
    """What to do with another run's directory, as `train` and the others take it."""
    return {name: values[name].value for name in ("overwrite", "allow_config_change")}


def encoder_of_start(held: EncoderConfig, values: flags.FlagValues) -> EncoderConfig:
    """The encoder of what a run starts from, with what flags may change of it.

    Raises:
        InputError: a flag asks for another network.
    """
    from tfcontrastive.runs.builders import OF_TRAINING

    asked = {field.name: values[field.name].value for field in dataclasses.fields(held) if values[field.name].present}
    for name, value in asked.items():
        if name not in OF_TRAINING and value != getattr(held, name):
            raise InputError(
                f"`{name}` must be the checkpoint's, {getattr(held, name)}. Received: {name}={value}. Leave the flags of "
                "the encoder out to take its own network."
            )
    return dataclasses.replace(held, **{name: value for name, value in asked.items() if name in OF_TRAINING})
