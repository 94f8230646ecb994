"""From the variables of a file to those of networks: nothing is left over in silence, on either side."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.pretrained.variables import Variables, to_tensorflow, to_tensorflow_shape

_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Link:
    """One variable of ours, and the file's that it takes its value from.

    Attributes:
        target: its name, as "encoder/initial_conv/kernel".
        variable: it.
        source: the name in the file.
        minus: the name of a bias that is subtracted: batch norm of `x + bias` is that of x with a lower mean.
        squeeze: the file's has axes of length 1 beside.
        also: names of more variables that the value is made of.
        combine: makes the value of those of `source` and `also`, as the file holds them; None: it is `source`'s.
    """

    target: str
    variable: keras.Variable
    source: str
    minus: str | None = None
    squeeze: bool = False
    also: tuple[str, ...] = ()
    combine: Callable[..., np.ndarray] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """All variables of the file that it takes something from."""
        return (self.source, *self.also, *(() if self.minus is None else (self.minus,)))


@dataclasses.dataclass(frozen=True)
class Recognised:
    """What a file is found to be: the networks, still to be filled, and where each of their variables comes from.

    Attributes:
        family: who publishes such files.
        config: of the encoder.
        encoder, projection_head, supervised_head: the networks, built; heads are None where the file has none.
        links: for every variable of theirs.
        unused: `{pattern: reason}` for what the file holds beside.
        notes: what else is to be said.
        facts: of the family, for the card of a model: its licence, its feature, ...
    """

    family: str
    config: EncoderConfig
    encoder: keras.Model
    projection_head: keras.layers.Layer | None
    supervised_head: keras.layers.Layer | None
    links: list[Link]
    unused: Mapping[str, str]
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Report:
    """What was recognised, and what became of every variable.

    Attributes:
        family: who publishes such files.
        description: of the networks, a line each.
        mapping: `{ours: the file's}`, all of ours.
        skipped: `{the file's: why}`, all that was not used.
        facts: of the family: its licence, its feature, ...
    """

    family: str
    description: tuple[str, ...]
    mapping: dict[str, str]
    skipped: dict[str, str]
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __str__(self) -> str:
        width = max(map(len, self.mapping))
        reasons: dict[str, list[str]] = {}
        for name, reason in self.skipped.items():
            reasons.setdefault(reason, []).append(name)
        lines = [f"recognised as {self.family}", *(f"  {line}" for line in self.description), "mapping:"]
        lines += [f"  {target:<{width}}  <-  {source}" for target, source in self.mapping.items()]
        lines += [f"skipped, {reason}: {_shortened(names)}" for reason, names in reasons.items()]
        return "\n".join(lines)


def fill(recognised: Recognised, variables: Variables) -> Report:
    """Checks that the mapping is whole and fits, and only then sets the networks' variables.

    Raises:
        InputError: a variable of ours has no counterpart or one of another shape, or one of the file's has no use.
    """
    linked = {id(link.variable) for link in recognised.links}
    for network in filter(None, (recognised.encoder, recognised.projection_head, recognised.supervised_head)):
        for variable in network.variables:
            if id(variable) not in linked:
                raise InputError(f"{variable.path} has no counterpart in the files of {recognised.family}")
    for link in recognised.links:
        for name in link.sources:
            if name not in variables.shapes:
                raise InputError(f"{link.target} finds no {name} in the file")
        if link.combine is not None:
            continue  # its shape shows when it is made
        shape = variables.shapes[link.source]
        shape = to_tensorflow_shape(shape) if variables.is_torch else shape
        shape = tuple(n for n in shape if n > 1) if link.squeeze else shape
        if tuple(shape) != tuple(link.variable.shape):
            raise InputError(f"{link.target} has the shape {tuple(link.variable.shape)}, and {link.source} {shape}")
    used = {name for link in recognised.links for name in link.sources}
    skipped = {name: _reason(name, recognised.unused) for name in variables.shapes if name not in used}
    unknown = [name for name, reason in skipped.items() if reason is None]
    if unknown:
        raise InputError(f"as a file of {recognised.family} it holds {len(unknown)} variables that have no place: "
                         f"{_shortened(unknown)}")  # fmt: skip
    mapping = {}
    for link in recognised.links:
        link.variable.assign(_value(link, variables))
        minus = "" if link.minus is None else f" - {link.minus}"
        mapping[link.target] = ", ".join((link.source, *link.also)) + minus
    description = (*_description(recognised), *recognised.notes)
    return Report(recognised.family, description, mapping, skipped, recognised.facts)


def _value(link: Link, variables: Variables) -> np.ndarray:
    """What a link's variable becomes."""
    if link.combine is not None:
        value = link.combine(*(np.asarray(variables.read(name), np.float32) for name in (link.source, *link.also)))
        if value.shape != tuple(link.variable.shape):
            names = ", ".join((link.source, *link.also))
            raise InputError(f"{link.target} has the shape {tuple(link.variable.shape)}, and {names} {value.shape}")
        return value
    value = variables.read(link.source)
    value = to_tensorflow(value) if variables.is_torch else value
    value = value.squeeze() if link.squeeze else value
    if link.minus is not None:
        value = value - variables.read(link.minus)
    return value.astype(np.float32)


def links(
    owner: str, pairs: Iterable[tuple[keras.layers.Layer, str]], names: Mapping[str, str] | None = None
) -> list[Link]:
    """Links of every weight of the layers to `prefix/name`.

    Args:
        owner: what the layers belong to, for the targets' names.
        pairs: layers, and what stands before a weight's name in the file.
        names: of weights in the file, where they are not Keras'.
    """
    return [Link(f"{owner}/{layer.name}/{weight.name}", weight, prefix + (names or {}).get(weight.name, weight.name))
            for layer, prefix in pairs for weight in layer.weights]  # fmt: skip


def _reason(name: str, unused: Mapping[str, str]) -> str | None:
    return next((reason for pattern, reason in unused.items() if re.search(pattern, name)), None)


def _shortened(names: list[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _description(recognised: Recognised) -> list[str]:
    parts = {"encoder": recognised.encoder, "projection head": recognised.projection_head,
             "supervised head": recognised.supervised_head}  # fmt: skip
    lines = []
    for name, part in parts.items():
        if part is None:
            lines.append(f"{name:<15}  none in the file")
            continue
        count = sum(int(np.prod(variable.shape)) for variable in part.trainable_variables)
        lines.append(f"{name:<15}  {_summary(name, part, recognised)}, {count:,} parameters")
    return lines


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of which one is itself a JSON of settings."""
    options = settings.pop("vit_options", None)
    return settings if options is None else {**settings, **json.loads(options)}


def _summary(name: str, part: keras.layers.Layer, recognised: Recognised) -> str:
    if name == "encoder":
        changed = {field.name: getattr(recognised.config, field.name)
                   for field in dataclasses.fields(EncoderConfig)
                   if getattr(recognised.config, field.name) != field.default}  # fmt: skip
        settings = ", ".join(f"{name}={value}" for name, value in _flat(changed).items())
        return f"{part.output_shape[-1]} features: {settings or 'the default ResNet-50'}"
    widths = [variable.shape for variable in part.trainable_variables if len(variable.shape) == 2]
    return " -> ".join(str(width) for width in [widths[0][0], *(shape[1] for shape in widths)])
