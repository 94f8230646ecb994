"""Where each variable of `ViT` comes from in a file of a layout."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping

import keras
import numpy as np

from tfcontrastive.pretrained.foundation.layouts import Layout
from tfcontrastive.pretrained.mapping import Link
from tfcontrastive.pretrained.variables import Variables

_WORDS = {"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
_PARTS = ("norm1", "norm2", "scale1", "scale2")


@dataclasses.dataclass(frozen=True)
class Source:
    """The variables of a file that one of ours is made of, and how; without `combine`, it is the first one's."""

    names: tuple[str, ...]
    combine: Callable[..., np.ndarray] | None = None


def vit_links(
    encoder: keras.Model, layout: Layout, variables: Variables, prefix: str, projection: str = ""
) -> list[Link]:
    """Links of every variable of a `ViT`.

    Args:
        encoder: the network, without normalisation before it.
        layout: of the file.
        variables: the file's.
        prefix: what stands before the encoder's variables in it.
        projection: the whole name of the last linear map.
    """
    made = []
    for variable in encoder.variables:
        if variable.path == "projection/kernel":
            as_it_is = np.asarray if layout.projection_is_transposed else None
            made.append(Link(f"encoder/{variable.path}", variable, projection, combine=as_it_is))
            continue
        source = _source(variable.path, layout, variables, prefix)
        first, *also = (prefix + name for name in source.names)
        made.append(Link(f"encoder/{variable.path}", variable, first, also=tuple(also), combine=source.combine))
    return made


def _source(path: str, layout: Layout, variables: Variables, prefix: str) -> Source:
    layer, *inner, weight = path.split("/")
    word = _WORDS.get(weight, weight)
    block = re.fullmatch(r"block(\d+)_(.+)", layer)
    if layer == "tokens":
        return _of_tokens(weight, layout, variables, prefix)
    if block:
        home = layout.block.format(int(block[1]) - 1)
        source = _of_block(block[2], inner, weight, word, layout, variables.starting_with(prefix + home))
        return Source(tuple(home + name for name in source.names), source.combine)
    if layer.startswith("pool"):
        return _of_pool(layer, inner, weight, word, layout)
    names = {"patch_embed": layout.patches, "pre_norm": layout.pre_norm, "norm": layout.norm}
    return Source((names[layer].format(word),))


def _of_tokens(weight: str, layout: Layout, variables: Variables, prefix: str) -> Source:
    """The class token with its place added, as the network would; a table of the patches' places alone."""
    if weight == "register_tokens":
        return Source((layout.registers,), _rows)
    places = positions_of(variables, layout, prefix)
    if weight == "positions":
        return Source((layout.positions,), _rows if not places.of_class else lambda table: _rows(table)[1:])
    if not places.of_class:
        return Source((layout.class_token,), np.ravel)
    return Source((layout.class_token, layout.positions), lambda token, table: np.ravel(token) + _rows(table)[0])


def _of_block(
    part: str, inner: list[str], weight: str, word: str, layout: Layout, held: dict[str, tuple[int, ...]]
) -> Source:
    if part in _PARTS:
        return Source((getattr(layout, part).format(word),))
    if part == "fc1":
        names = tuple(name.format(word) for name in gate_of(layout, held) or (layout.fc1,))
        return Source(names) if len(names) == 1 else Source(names, _stacked)
    if part == "fc2":
        return Source(((layout.gated_out if gate_of(layout, held) else layout.fc2).format(word),))
    if inner == ["proj"]:
        return Source((layout.out.format(word),))
    if weight in ("query_bias", "value_bias"):
        own = getattr(layout, weight)
        if own in held:
            return Source((own,))
        third = 0 if weight == "query_bias" else 2
        return Source((str(layout.qkv).format("bias"),), lambda bias: np.split(bias, 3)[third])
    if isinstance(layout.qkv, tuple):
        return Source(tuple(name.format(word) for name in layout.qkv), _stacked)
    return Source((layout.qkv.format(word),))


def gate_of(layout: Layout, block: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The variables of a block's gate and of what it lets through, () where it has none.

    Args:
        layout: of the file.
        block: shapes of one block, by their names in it.
    """
    names = layout.gated if isinstance(layout.gated, tuple) else (layout.gated,)
    shapes = [block.get(name.format("weight")) for name in names]
    inner = block.get(layout.gated_out.format("weight"))
    if not layout.gated or inner is None or any(shape is None for shape in shapes):
        return ()
    return names if sum(shape[0] for shape in shapes if shape) == 2 * inner[1] else ()


def _of_pool(layer: str, inner: list[str], weight: str, word: str, layout: Layout) -> Source:
    part = weight if weight == "probe" else inner[0] if inner else layer
    names = dict(layout.pool)
    if part == "probe":
        return Source((names[part],), np.ravel)
    name = names[part].format(word)
    if names["query"] == names["key_value"] and part in ("query", "key_value"):
        return Source((name,), _query if part == "query" else _key_value)
    return Source((name,))


def _rows(value: np.ndarray) -> np.ndarray:
    return value.reshape(-1, value.shape[-1])


def _stacked(*values: np.ndarray) -> np.ndarray:
    """Several maps of one input as one; outputs come first in torch."""
    return np.concatenate(values).T


def _query(value: np.ndarray) -> np.ndarray:
    return np.split(value, 3)[0].T


def _key_value(value: np.ndarray) -> np.ndarray:
    return np.concatenate(np.split(value, 3)[1:]).T


@dataclasses.dataclass(frozen=True)
class Positions:
    """Of a table of places: the side of its square grid, and whether the class token has one too."""

    side: int
    of_class: bool


def positions_of(variables: Variables, layout: Layout, prefix: str) -> Positions:
    """What the table of a file is like; side 0 where there is none, or it is no square."""
    shape = variables.shapes.get(prefix + layout.positions, (0,)) if layout.positions else (0,)
    count = shape[-2] if len(shape) > 1 else 0
    for before in (0, 1):
        side = round(max(count - before, 0) ** 0.5)
        if side and side * side == count - before:
            return Positions(side, bool(before))
    return Positions(0, False)
