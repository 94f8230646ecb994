"""What a family of published vision transformers is: facts as data, and a network made of them and of a file's shapes."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any

from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.data.preprocessing import PREPROCESSING, Preprocessing
from tfcontrastive.pretrained.foundation.beside import Beside
from tfcontrastive.pretrained.foundation.layouts import Layout
from tfcontrastive.pretrained.foundation.links import gate_of, positions_of, vit_links
from tfcontrastive.pretrained.mapping import Recognised
from tfcontrastive.pretrained.torchvision import COUNTER, mlp_of
from tfcontrastive.pretrained.variables import Variables
from tfcontrastive.runs.builders import build_network

# Heads by width, of all families but where they say otherwise.
_HEADS = {192: 3, 384: 6, 512: 8, 640: 10, 768: 12, 896: 14, 1024: 16, 1152: 16, 1280: 16, 1408: 16, 1536: 24, 1664: 16}

NO_COMMERCE = "not for commercial use"


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks that were published together.

    Attributes:
        name: of the family.
        licence: of the weights, as their authors publish them.
        preprocessing: of the images, one of `PREPROCESSING`.
        options: of `ViT`, what shapes do not tell: activation, epsilon, pool, ...
        heads: by width, where they are others than most families'.
        unused: `{pattern: reason}` for what else its files hold.
        image_size: height and width of images that its features are taken of; None: those of the learned positions.
    """

    name: str
    licence: str
    preprocessing: str
    options: Mapping[str, Any]
    heads: Mapping[int, int] = dataclasses.field(default_factory=dict)
    unused: Mapping[str, str] = dataclasses.field(default_factory=dict)
    image_size: int | None = None


@dataclasses.dataclass(frozen=True)
class Found:
    """A file of a family.

    Attributes:
        family: whose it is.
        layout: how its variables are named.
        prefix: what stands before the encoder's.
        beside: the settings beside it.
        options: of `ViT`, over the family's.
        projection: the whole name of the last linear map, "" where it is no part of the feature.
        classifier: prefix of a classifier's variables.
        notes: what else is to be said.
    """

    family: Family
    layout: Layout
    prefix: str
    beside: Beside
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    projection: str = ""
    classifier: str = "head."
    notes: tuple[str, ...] = ()


def made(found: Found, variables: Variables, image_size: int | None) -> Recognised:
    """The network of a file, and where its variables come from.

    Raises:
        InputError: a member of the family that is not known, or settings beside it that say otherwise.
    """
    options = _options(found, variables)
    preprocessing, note = preprocessing_of(found.family, found.beside)
    config = EncoderConfig(encoder="vit", vit_options=json.dumps(options), preprocessing=preprocessing)
    encoder = build_network(config, image_size=image_size, channels=3)
    links = vit_links(encoder, found.layout, variables, found.prefix, found.projection)
    head = None
    if found.classifier and not found.projection:
        head = mlp_of(variables, found.prefix + found.classifier, "supervised_head")
        head = head or mlp_of(variables, found.classifier, "supervised_head")
    if head is not None:
        links += head[1]
    licence, feature = found.family.licence, _feature(options)
    size = _trained_size(options)
    facts = facts_of(licence, feature, found.layout.library, preprocessing, found.family.image_size or size)
    notes = [f"feature: {feature}", f"licence: {licence}", *found.notes, *note]
    if size:
        notes.insert(0, f"positions: learned at {size} px, interpolated at other sizes")
    unused = {**COUNTER, r"(^|\.)mask_token$": "for training with masks", **found.family.unused}
    family = f"{found.family.name}, in the layout of {found.layout.library}"
    return Recognised(family, config, encoder, None, head and head[0], links, unused, tuple(notes), facts)


def facts_of(licence: str, feature: str, library: str, preprocessing: str, image_size: int | None) -> dict[str, str]:
    """What the card of a model keeps of the file that it came from."""
    return {
        "licence": licence,
        "feature": feature,
        "layout": library,
        "preprocessing": f"{preprocessing}, {PREPROCESSING[preprocessing]}",
        "image_size": str(image_size),
    }


def _options(found: Found, variables: Variables) -> dict[str, Any]:
    """The settings of `ViT`: from shapes where they tell them, else from the family and what lies beside."""
    layout, held = found.layout, variables.starting_with(found.prefix)
    width, channels, patch, other = _of_rank(held, layout.patches.format("weight"), 4, found)
    if channels != 3 or patch != other:
        raise InputError(f"a {found.family.name} of {channels} channels and patches of {patch} x {other} is not known; "
                         "images of 3 channels and square patches are")  # fmt: skip
    before, after = map(re.escape, layout.block.split("{}"))
    blocks = {int(match[1]) for name in held if (match := re.match(rf"{before}(\d+){after}", name))}
    if not blocks:
        raise InputError(f"as a {found.family.name} it holds no block {found.prefix}{layout.block.format(0)}")
    block = layout.block.format(0)
    gate = gate_of(layout, variables.starting_with(found.prefix + block))
    hidden = _of_rank(held, block + (layout.gated_out if gate else layout.fc2).format("weight"), 2, found)[1]
    options: dict[str, Any] = {
        "width": width,
        "depth": max(blocks) + 1,
        "num_heads": _heads(found, width),
        "patch_size": patch,
        "stop_grad_conv1": False,
        **found.family.options,
        **found.options,
    }
    places = positions_of(variables, layout, found.prefix)
    if options.get("positions") == "learned":
        if not places.side:
            raise InputError(
                f"a {found.family.name} whose {found.prefix}{layout.positions} is of no square grid is not known"
            )
        options["position_grid"] = (places.side, places.side)
    if not (layout.class_token and layout.class_token in held):
        options["class_token"] = False
    if layout.registers and layout.registers in held:
        options["registers"] = held[layout.registers][-2]
    if layout.patches.format("bias") not in held:
        options["patch_bias"] = False
    if layout.pre_norm and layout.pre_norm.format("weight") in held:
        options["pre_norm"] = True
    if layout.scale1 and block + layout.scale1 in held:
        options["layer_scale"] = 1e-5
    if hidden != 4 * width:
        options["mlp_width"] = hidden
    bias = _bias(layout, held, block)
    if bias != "all":
        options["qkv_bias"] = bias
    if gate:
        options["activation"] = "swiglu"
    if found.projection:
        options["projection"] = variables.shapes[found.projection][1 if layout.projection_is_transposed else 0]
    return options


def _of_rank(held: Mapping[str, tuple[int, ...]], name: str, rank: int, found: Found) -> tuple[int, ...]:
    shape = held.get(name)
    if shape is None or len(shape) != rank:
        what = "no" if shape is None else f"a {len(shape)}-dimensional"
        raise InputError(f"as a {found.family.name} of {found.layout.library} it holds {what} {found.prefix}{name}")
    return shape


def _heads(found: Found, width: int) -> int:
    """Heads are in no shape: they are told beside, or known by the width."""
    told = found.beside.transformers.get("num_attention_heads") or found.beside.timm.get("model_args", {}).get(
        "num_heads"
    )
    tower = found.beside.open_clip.get("vision_cfg", {})
    if not told and tower.get("width") == width and isinstance(tower.get("head_width", 64), int):
        told = width // tower.get("head_width", 64)
    known = {**_HEADS, **found.family.heads}
    heads = told or known.get(width)
    if not isinstance(heads, int) or heads < 1 or width % heads:
        raise InputError(
            f"a {found.family.name} {width} wide is none of its published members, {', '.join(map(str, sorted(known)))} "
            "wide; with a config.json beside it that tells its heads it can be read"
        )
    return heads


def _bias(layout: Layout, held: Mapping[str, tuple[int, ...]], block: str) -> str:
    if layout.query_bias and block + layout.query_bias in held:
        return "query_value"
    first = layout.qkv if isinstance(layout.qkv, str) else layout.qkv[0]
    if block + first.format("bias") not in held:
        return "none"
    return "query_value" if layout.library == "Meta" and not layout.positions else "all"


def _feature(options: Mapping[str, Any]) -> str:
    pooled = {"token": "the class token", "mean": "the mean of the patches", "attention": "attention pooling"}
    text = f"{pooled[options.get('pool', 'token')]}, after the last normalisation"
    return text + (", projected to the space of images and texts" if options.get("projection") else "")


def _trained_size(options: Mapping[str, Any]) -> int | None:
    grid = options.get("position_grid")
    return grid and grid[0] * options["patch_size"]


def preprocessing_of(family: Family, beside: Beside) -> tuple[str, tuple[str, ...]]:
    """The family's rule, or the one with the mean and the deviation that are told beside the file, and a note on that.

    Raises:
        InputError: they are of no known family.
    """
    told, usual = beside.mean_and_std, family.preprocessing
    if told is None:
        return usual, ()
    for name in (usual, *PREPROCESSING):
        if _is_of(PREPROCESSING[name], *told):
            differs = name != usual
            return name, (f"preprocessing: as told beside the file, {name} instead of {usual}",) if differs else ()
    raise InputError(
        f"the normalisation that is told beside it, mean {told[0]} and std {told[1]}, is of no known family"
    )


def _is_of(rule: Preprocessing, mean: tuple[float, ...], std: tuple[float, ...]) -> bool:
    def close(ours, theirs):
        ours = ours * len(theirs) if len(ours) == 1 else ours
        return len(ours) == len(theirs) and all(abs(a - b) < 2e-3 for a, b in zip(ours, theirs, strict=True))

    return not rule.reverse_channels and close(rule.mean, mean) and close(rule.std, std)
