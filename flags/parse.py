"""From a command line to a config: recipes, flag files, the method's own flags, and errors that say what to do."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib import resources
from typing import Any

from absl import flags

from tfcontrastive.config import Checked, InputError, leaves, unknown


def recipe_names(train_mode: str | None = None) -> list[str]:
    """The names that `--recipe` takes: all, or those of one train_mode (pretrain, finetune or distill)."""
    folder = resources.files("tfcontrastive.flags") / "recipes"
    names = sorted(file.name.removesuffix(".flags") for file in folder.iterdir() if file.name.endswith(".flags"))
    if train_mode is None:
        return names
    return [name for name in names if peek(expand([f"--recipe={name}"]), "train_mode", "pretrain") == train_mode]


def recipe_path(name: str) -> str:
    """The path of a packaged flag file.

    Raises:
        InputError: no recipe has this name.
    """
    if name not in recipe_names():
        raise InputError(f"`recipe` {unknown(name, recipe_names())}")
    return str(resources.files("tfcontrastive.flags") / "recipes" / f"{name}.flags")


def expand(words: Sequence[str]) -> list[str]:
    """The words with recipes and flag files written out; a recipe's flags come first, so that others override them."""
    recipes, rest = [], []
    words = list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--recipe", "-recipe"):
            if not equals and not words:
                raise InputError("`recipe` needs a name: --recipe=NAME.")
            recipes.append(f"--flagfile={recipe_path(value if equals else words.pop(0))}")
        else:
            rest.append(word)
    try:
        return flags.FlagValues().read_flags_from_files([*recipes, *rest])
    except (flags.Error, OSError) as error:
        raise InputError(f"`flagfile` must name a readable file of flags: {error}") from error


def peek(words: Sequence[str], name: str, default: str) -> str:
    """The value that one string flag will have, read before the others are known."""
    values = flags.FlagValues()
    flags.DEFINE_string(name, default, "", flag_values=values)
    try:
        values(["peek", *words], known_only=True)
    except flags.Error as error:
        raise InputError(str(error)) from error
    return values[name].value


def parse(
    words: Sequence[str],
    values: flags.FlagValues,
    *,
    foreign: dict[str, list[str]] | None = None,
    selector: str = "method",
    positional: bool = False,
) -> list[str]:
    """Parses a command's words into its flags.

    Args:
        words: expanded words, without the program's name.
        values: the flags, defined.
        foreign: flags of other methods and the methods that take them, for the error's sake.
        selector: the flag that chooses the method.
        positional: whether words that belong to no flag may stand among the others.

    Returns:
        these words.

    Raises:
        InputError: an unknown flag (with the nearest one), another method's, a bad value, or a stray word.
    """
    values.set_gnu_getopt()  # else the first positional word ends the flags
    try:
        stray = values(["tfcontrastive", *words])[1:]
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        if name in (foreign or {}):
            takers = ", ".join(f"--{selector}={taker}" for taker in foreign[name])
            raise InputError(f"`--{name}` is not a flag of this {selector}. It belongs to {takers}.") from error
        near = difflib.get_close_matches(name, list(values), n=1)
        guess = f" Did you mean --{near[0]}?" if near else " See --help."
        raise InputError(f"`--{name}` is not a flag of this command.{guess}") from error
    except (flags.Error, ValueError) as error:  # ValueError: --noflag=value
        raise InputError(str(error)) from error
    if stray and not positional:
        raise InputError(f"flags must look like --name=value. Received: {stray[0]!r}.")
    return stray


def help_text(title: str, groups: dict[str, Checked | flags.FlagValues]) -> str:
    """The flags of a command, by group: name, default, meaning."""
    lines = [title]
    for heading, group in groups.items():
        lines += ["", f"{heading}:"]
        if isinstance(group, flags.FlagValues):
            shown = {name: (group[name].default, group[name].help) for name in group}
        else:
            shown = {name: (value, _meaning(field)) for name, (field, value) in leaves(group).items()}
        for name, (default, meaning) in shown.items():
            lines.append(f"  --{name}" + ("" if default is None else f"={default}"))
            lines.append(f"      {meaning}")
    return "\n".join(lines)


def _meaning(field: Any) -> str:
    choices = field.metadata["choices"]
    return field.metadata["help"] + (f" One of: {', '.join(map(str, choices))}." if choices else "")
