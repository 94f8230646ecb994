"""absl flags derived from config dataclasses: every plain field of a config is a flag of the same name."""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from absl import flags

from tfcontrastive.config import BaseConfig, InputError, clash, flat_fields, replace_flat, value_types


def define(config: BaseConfig, flag_values: flags.FlagValues) -> None:
    """Defines one flag for each plain field of a config and of the configs in it.

    Args:
        config: an instance; its values are the flags' defaults, shown by `--help`.
        flag_values: where to define them; never the global FLAGS.

    Raises:
        InputError: a flag would have two owners: two of the configs, or one and the command itself.

    Examples:
        >>> values, config = flags.FlagValues(), tfcontrastive.TrainConfig(method_config=tfcontrastive.SimCLRConfig())
        >>> define(config, values)
        >>> argv = values(["train", "--train_batch_size=256"])
        >>> from_flags(config, values).loop.train_batch_size
        256
    """
    makers = {
        bool: flags.DEFINE_boolean,
        int: flags.DEFINE_integer,
        float: flags.DEFINE_float,
        str: flags.DEFINE_string,
    }
    flat_fields(config)  # refuses two configs with a field of one name
    commands_own = {*flag_values, "help", "h"}
    for owner in _owners(config):
        hints = typing.get_type_hints(type(owner))
        for field in dataclasses.fields(owner):
            kinds = [kind for kind in value_types(hints[field.name]) if kind is not type(None)]
            if not kinds:  # a config in the config
                continue
            if field.name in commands_own:
                raise InputError(clash(field.name, type(owner).__name__, "the command"))
            text = field.metadata.get("help", "")
            makers[kinds[0]](field.name, getattr(owner, field.name), text, flag_values=flag_values)


def from_flags(config: Any, flag_values: flags.FlagValues) -> Any:
    """The config with what was given on the command line; its rules are checked again."""
    names = flat_fields(config)
    given = {name: flag_values[name].value for name in names if flag_values[name].present}
    return replace_flat(config, given)


def of_recipe(config: Any, given: set[str]) -> Any:
    """The config with what a recipe says of batch and warm-up as its defaults, which give way to small data and short runs.

    Args:
        config: of a command line that may hold recipes.
        given: the flags that were given beside them.
    """
    loop, optimizer, usual = config.loop, config.optimizer, config.defaults
    if loop.train_batch_size is not None and "train_batch_size" not in given:
        usual = usual._replace(train_batch_size=loop.train_batch_size)
        loop = dataclasses.replace(loop, train_batch_size=None)
    if optimizer.warmup_epochs is not None and "warmup_epochs" not in given:
        usual = usual._replace(warmup_epochs=optimizer.warmup_epochs, at_most_a_tenth=False)
        optimizer = dataclasses.replace(optimizer, warmup_epochs=None)
    return dataclasses.replace(config, loop=loop, optimizer=optimizer, defaults=usual)


def _owners(config: BaseConfig) -> list[BaseConfig]:
    nested = [getattr(config, name) for name in typing.get_type_hints(type(config))]
    return [config, *(value for value in nested if isinstance(value, BaseConfig))]
