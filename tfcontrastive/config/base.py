"""Checked, frozen configuration: the one place where a value's rule is written down.

A config is a frozen dataclass whose fields are made by `setting`. The rules of a field (its choices and its range) are
checked when the object is made, by `BaseConfig.__post_init__`, so no config with a bad value can exist.
`tfcontrastive.flags` turns the same fields into command-line flags.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterable, Sequence
from typing import Any


class InputError(ValueError):
    """A mistake in what the user gave. Commands print it as one line and exit with code 2."""


class ClusterError(RuntimeError):
    """A process that trains together with this one was lost. Commands print it as one line and exit with code 1."""


def setting(
    default: Any,
    help: str,
    *,
    choices: Sequence[Any] | None = None,
    above: float | None = None,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
    may_change: bool = False,
    stored: bool = True,
) -> Any:
    """A dataclass field with its help text and its rule.

    Args:
        default: the value when none is given.
        help: one sentence, shown by `--help`.
        choices: the allowed values.
        above, at_least, below, at_most: the range of a number. None, where the field allows it, is not checked.
        may_change: True where a run may be resumed with another value, since it does not alter what is learned.
        stored: False for what is neither a flag nor a setting of a run.
    """
    rules = {"above": above, "at_least": at_least, "below": below, "at_most": at_most}
    metadata = {
        "help": help,
        "choices": tuple(choices) if choices is not None else None,
        "rules": {name: limit for name, limit in rules.items() if limit is not None},
        "may_change": may_change,
        "stored": stored,
    }
    return dataclasses.field(default=default, metadata=metadata, repr=stored, compare=stored)


_SIGNS = {
    "above": (">", lambda value, limit: value > limit),
    "at_least": (">=", lambda value, limit: value >= limit),
    "below": ("<", lambda value, limit: value < limit),
    "at_most": ("<=", lambda value, limit: value <= limit),
}


@dataclasses.dataclass(frozen=True)
class BaseConfig:
    """Base of every config: checks each field's type, choices and range when it is made."""

    def __post_init__(self):
        hints = typing.get_type_hints(type(self))
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kinds = value_types(hints[field.name])
            if float in kinds and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif kinds and not (type(value) in kinds or (value is None and type(None) in kinds)):
                names = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
                raise InputError(f"`{field.name}` must be {names}. Received: {field.name}={value!r}.")
            if value is None:
                continue
            choices = field.metadata.get("choices")
            if choices is not None and value not in choices:
                raise InputError(f"`{field.name}` {unknown(value, choices)}")
            for rule, limit in field.metadata.get("rules", {}).items():
                sign, holds = _SIGNS[rule]
                if not holds(value, limit):
                    raise InputError(f"`{field.name}` must be {sign} {limit:.10g}. Received: {field.name}={value!r}.")
            if type(value) is float and not math.isfinite(value):
                raise InputError(f"`{field.name}` must be a finite number. Received: {field.name}={value!r}.")


def value_types(hint: Any) -> tuple[type, ...]:
    """The plain types a hint allows: `float | None` -> (float, NoneType); () for what is not checked."""
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) or typing.get_origin(hint) else (hint,)
    return options if all(kind in (bool, int, float, str, type(None)) for kind in options) else ()


# What other projects call these.
_OTHER_NAMES = {
    "sgd": "momentum", "bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32",
    "ddp": "mirrored", "sync": "mirrored",
}  # fmt: skip


def unknown(value: Any, known: Iterable[Any]) -> str:
    """The end of an error about a name that is not among the known ones, with the one that may be meant."""
    known = list(known)
    numbers = all(isinstance(one, (int, float)) for one in known)
    names = [str(one) for one in (sorted(known) if numbers else sorted(map(str, known)))]
    other = _OTHER_NAMES.get(str(value).lower())
    near = [other] if other in names else difflib.get_close_matches(str(value), names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    return f"must be one of {', '.join(names)}. Received: {value!r}.{guess}"
