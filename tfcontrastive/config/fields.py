"""Configs within configs: their fields by name, as they are stored, and how two differ."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeGuard, TypeVar

from tfcontrastive.config.base import BaseConfig, InputError, unknown

Config = TypeVar("Config", bound=BaseConfig)


def is_config(value: Any) -> TypeGuard[BaseConfig]:
    """Whether the value of a field is a config itself."""
    return dataclasses.is_dataclass(value)


def settings(config: BaseConfig) -> list[dataclasses.Field]:
    """The fields of a config that a run is stored with."""
    return [field for field in dataclasses.fields(config) if field.metadata.get("stored", True)]


def flat_fields(config: BaseConfig) -> dict[str, tuple[dataclasses.Field, Any]]:
    """Every plain field of a config and of the configs in it, as flags name them: {name: (field, value)}.

    Raises:
        InputError: two of the configs have a field of one name, which one flag cannot set.
    """
    found: dict[str, tuple[dataclasses.Field, Any]] = {}
    owners: dict[str, str] = {}
    for path, (field, value) in _plain(config).items():
        if path[-1] in found:
            raise InputError(clash(path[-1], owners[path[-1]], _owner(config, path)))
        found[path[-1]], owners[path[-1]] = (field, value), _owner(config, path)
    return found


def clash(name: str, *owners: str) -> str:
    """The error about a flag that would set two things."""
    return (
        f"`{name}` must be a setting of one owner to be a flag. Received: a field {name!r} of both {' and '.join(owners)}. "
        "Give the method's field another name; from Python, without flags, it works as it is."
    )


def replace_flat(config: Config, values: dict[str, Any]) -> Config:
    """The config with plain fields, named as flags are, set to new values; the rules are checked again."""
    changes: dict[str, Any] = {}
    for field in settings(config):
        value = getattr(config, field.name)
        if is_config(value):
            changes[field.name] = replace_flat(value, values)
        elif field.name in values:
            changes[field.name] = values[field.name]
    return dataclasses.replace(config, **changes)


def nested(config: BaseConfig, *, lasting: bool = False) -> dict[str, Any]:
    """A config as plain values, as JSON holds them: an object for each config in it.

    Args:
        config: any.
        lasting: without what may change on resume, since it does not alter what is learned.
    """
    fields = [field for field in settings(config) if not (lasting and field.metadata.get("may_change"))]
    values = {field.name: getattr(config, field.name) for field in fields}
    return {name: nested(value, lasting=lasting) if is_config(value) else value for name, value in values.items()}


def from_nested(base: Config, stored: dict[str, Any]) -> Config:
    """A config of the same classes as `base` with the values that `nested` gave; what is not stored keeps its value.

    Raises:
        InputError: a setting that there is not, or a value that breaks a rule.
    """
    known = {field.name for field in settings(base)}
    changes = {}
    for name, value in stored.items():
        if name not in known:
            raise InputError(
                f"a setting of {type(base).__name__} {unknown(name, known)} Another version has written it."
            )
        part = getattr(base, name)
        changes[name] = from_nested(part, value) if is_config(part) and isinstance(value, dict) else value
    return dataclasses.replace(base, **changes)


def differences(old: dict[str, Any], config: BaseConfig) -> dict[str, tuple[Any, Any]]:
    """What a stored run (as `nested` gives it) and a config disagree on, leaving out what may change on resume.

    Returns:
        {name: (stored value, value)}; the name is the flag's, with its group where several have that name.
    """
    new = _plain(config)
    names = [path[-1] for path in new]
    found = {}
    for path, (field, value) in new.items():
        before: Any = old
        for part in path:
            before = before.get(part) if isinstance(before, dict) else None
        if not field.metadata.get("may_change") and before != value:
            found[path[-1] if names.count(path[-1]) == 1 else ".".join(path)] = (before, value)
    return found


def _plain(config: BaseConfig, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], tuple[dataclasses.Field, Any]]:
    """Every plain field by its path through the configs."""
    found: dict[tuple[str, ...], tuple[dataclasses.Field, Any]] = {}
    for field in settings(config):
        value = getattr(config, field.name)
        if is_config(value):
            found |= _plain(value, (*path, field.name))
        elif field.name != "method_config":
            found[(*path, field.name)] = (field, value)
    return found


def _owner(config: BaseConfig, path: tuple[str, ...]) -> str:
    for part in path[:-1]:
        config = getattr(config, part)
    return type(config).__name__
