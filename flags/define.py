"""absl flags derived from config dataclasses: every plain field of a config is a flag of the same name."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from absl import flags

from tfcontrastive.config import Checked, leaves, replace_leaves, value_types


def define(config: Checked, flag_values: flags.FlagValues) -> None:
    """Defines one flag for each plain field of a config and of the configs in it.

    Args:
        config: an instance; its values are the flags' defaults, shown by `--help`.
        flag_values: where to define them; never the global FLAGS.

    Example:
        >>> values = flags.FlagValues()
        >>> define(TrainConfig(), values)
        >>> values(["train", "--train_batch_size=256"])
        >>> from_flags(TrainConfig(), values).loop.train_batch_size
        256
    """
    makers = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    for owner in _owners(config):
        hints = typing.get_type_hints(type(owner))
        for field in dataclasses.fields(owner):
            kinds = [kind for kind in value_types(hints[field.name]) if kind is not type(None)]
            if kinds:  # not a config in the config
                makers[kinds[0]](
                    field.name, getattr(owner, field.name), field.metadata["help"], flag_values=flag_values
                )


def from_flags(config: Any, flag_values: flags.FlagValues) -> Any:
    """The config with what was given on the command line; its rules are checked again."""
    names = leaves(config)
    given = {name: flag_values[name].value for name in names if flag_values[name].present}
    return replace_leaves(config, given)


def _owners(config: Checked) -> list[Checked]:
    nested = [getattr(config, name) for name in typing.get_type_hints(type(config))]
    return [config, *(value for value in nested if isinstance(value, Checked))]
