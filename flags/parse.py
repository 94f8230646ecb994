"""From a command line to a config: recipes, flag files, the method's own flags, and errors that say what to do."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any

from absl import flags

from tfcontrastive.config import BaseConfig, InputError, flat_fields, unknown


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


def given(argv: Sequence[str]) -> set[str]:
    """The names of the flags that the arguments themselves hold, flag files included, not those of recipes."""
    _, rest = _recipes_apart(argv)
    return {word.lstrip("-").partition("=")[0] for word in _read(rest) if word.startswith("-")}


def expand(argv: Sequence[str]) -> list[str]:
    """The arguments with recipes and flag files written out; a recipe's flags come first, so that others override them."""
    recipes, rest = _recipes_apart(argv)
    return _read([*(f"--flagfile={recipe_path(name)}" for name in recipes), *rest])


def spelled(command: str, argv: Sequence[str]) -> str:
    """The command line as one would type it in a shell."""
    return shlex.join(["tfcontrastive", command, *argv])


def _recipes_apart(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names of the recipes, and the other arguments."""
    recipes, rest = [], []
    argv = list(argv)
    while argv:
        word = argv.pop(0)
        name, equals, value = word.partition("=")
        if name in ("--recipe", "-recipe"):
            if not equals and not argv:
                raise InputError("`recipe` needs a name: --recipe=NAME.")
            recipes.append(value if equals else argv.pop(0))
        else:
            rest.append(word)
    return recipes, rest


def _read(argv: list[str]) -> list[str]:
    try:
        return flags.FlagValues().read_flags_from_files(argv)
    except (flags.Error, OSError) as error:
        raise InputError(f"`flagfile` must name a readable file of flags: {error}") from error


def peek(argv: Sequence[str], name: str, default: str) -> str:
    """The value that one string flag will have, read before the others are known."""
    values = flags.FlagValues()
    flags.DEFINE_string(name, default, "", flag_values=values)
    try:
        values(["peek", *argv], known_only=True)
    except flags.Error as error:
        raise InputError(str(error)) from error
    return values[name].value


def parse(
    argv: Sequence[str],
    values: flags.FlagValues,
    *,
    foreign: dict[str, list[str]] | None = None,
    selector: str = "method",
    positional: bool = False,
) -> list[str]:
    """Parses a command's arguments into its flags.

    Args:
        argv: expanded arguments, without the program's name.
        values: the flags, defined.
        foreign: flags of other methods and the methods that take them, for the error's sake.
        selector: the flag that chooses the method.
        positional: whether arguments that belong to no flag may stand among the others.

    Returns:
        these arguments.

    Raises:
        InputError: an unknown flag (with the nearest one), another method's, a bad value, or a stray word.
    """
    values.set_gnu_getopt()  # else the first positional word ends the flags
    try:
        stray = values(["tfcontrastive", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        name = error.flagname
        if name in (foreign or {}):
            takers = ", ".join(f"--{selector}={taker}" for taker in foreign[name])
            raise InputError(f"`--{name}` is not a flag of this {selector}. It belongs to {takers}.") from error
        near = [*meant(name, values), *difflib.get_close_matches(name, list(values), n=1)]
        guess = f" Did you mean --{near[0]}?" if near else " See --help."
        raise InputError(f"`--{name}` is not a flag of this command.{guess}") from error
    except (flags.Error, ValueError) as error:  # ValueError: --noflag=value
        raise InputError(_bad_value(str(error), values)) from error
    if stray and not positional:
        raise InputError(f"flags must look like --name=value. Received: {stray[0]!r}.")
    return stray


# What other programs call a flag, and what it may be called here: the first that the command has is meant.
_OTHER_NAMES = {
    "epochs num_epochs max_epochs n_epochs": ("train_epochs",),
    "steps num_steps max_steps iterations": ("train_steps",),
    "batch_size batch bs b batchsize": ("train_batch_size", "batch_size", "eval_batch_size", "linear_batch_size"),
    "lr base_lr learning_rate": ("learning_rate", "linear_learning_rate"),
    "wd decay": ("weight_decay",),
    "ckpt weights pretrained resume init checkpoint model_dir": ("checkpoint", "saved_model"),
    "output out o output_dir outdir out_dir save_dir output_path workdir work_dir logdir log_dir model_dir": (
        "output_dir", "export_dir", "output", "model_dir"
    ),
    "data data_path input images folder dataset": ("dataset", "from"),
    "arch model backbone network encoder": ("encoder", "saved_model", "checkpoint"),
    "depth": ("resnet_depth",),
    "width": ("width_multiplier",),
    "size img_size imgsz resolution crop_size": ("image_size",),
    "gpus devices device num_gpus distributed": ("strategy",),
    "amp precision dtype fp16 bf16": ("mixed_precision",),
    "warmup warmup_steps": ("warmup_epochs",),
    "opt optim": ("optimizer",),
    "tau temp t": ("temperature", "knn_temperature"),
    "aug augment transform": ("augmentation",),
    "random_seed": ("seed",),
    "queue_length moco_k": ("queue_size",),
    "k neighbours neighbors num_neighbors": ("k", "knn_k"),
}  # fmt: skip


def meant(name: str, known: Iterable[str]) -> list[str]:
    """The flags of a command that people mean who write `--name`, the likeliest first."""
    known, word = set(known), name.replace("-", "_").lower()
    if word in known:
        return [word]
    return [flag for names, here in _OTHER_NAMES.items() if word in names.split() for flag in here if flag in known]


_TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false"}


def _bad_value(message: str, values: flags.FlagValues) -> str:
    """What absl says of a value that a flag does not take, in this program's words."""
    found = re.match(r"flag --(\w+)=(.*?): ", message, re.DOTALL)
    kind = found and found[1] in values and values[found[1]].flag_type()
    if kind not in _TYPES:
        return message
    return f"`{found[1]}` must be {_TYPES[kind]}. Received: --{found[1]}={found[2]}."


def help_text(title: str, groups: dict[str, BaseConfig | flags.FlagValues]) -> str:
    """The flags of a command, by group: name, default, meaning."""
    lines = [title]
    for heading, group in groups.items():
        lines += ["", f"{heading}:"]
        if isinstance(group, flags.FlagValues):
            shown = {name: (group[name].default, group[name].help) for name in group}
        else:
            shown = {name: (value, _meaning(field)) for name, (field, value) in flat_fields(group).items()}
        for name, (default, meaning) in shown.items():
            lines.append(f"  --{name}" + ("" if default is None else f"={default}"))
            lines.append(f"      {meaning}")
    return "\n".join(lines)


def _meaning(field: Any) -> str:
    choices = field.metadata.get("choices")
    return field.metadata.get("help", "") + (f" One of: {', '.join(map(str, choices))}." if choices else "")
