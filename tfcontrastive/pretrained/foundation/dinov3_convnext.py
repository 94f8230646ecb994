"""DINOv3's ConvNeXts, and EUPE's, which are laid out alike."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import keras

from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.encoders.convnext import SIZES
from tfcontrastive.pretrained.foundation.beside import Beside
from tfcontrastive.pretrained.foundation.dinov3 import EUPE, FAMILY
from tfcontrastive.pretrained.foundation.family import facts_of, preprocessing_of
from tfcontrastive.pretrained.mapping import Link, Recognised
from tfcontrastive.pretrained.torchvision import WEIGHTS
from tfcontrastive.pretrained.variables import Variables
from tfcontrastive.runs.builders import build_network

_FEATURE = "the mean of the last map over its positions, normalised"
_UNUSED = {r"^norms\.": "the last normalisation again", r"^projectors\.": "heads of distillation"}


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a library calls the variables; stages are counted from 0.

    Attributes:
        library: that writes such files.
        first: the two layers before the first stage.
        halving: prefix of the two layers before each other stage.
        block: prefix of a block's variables.
        parts: of a block, `{our part: its name}`.
        norm: the last normalisation.
    """

    library: str
    first: str
    halving: str
    block: str
    parts: dict[str, str]
    norm: str


META = Layout(
    library="Meta",
    first="downsample_layers.0.",
    halving="downsample_layers.{}.",
    block="stages.{}.{}.",
    parts={"depthwise_conv": "dwconv", "norm": "norm", "fc1": "pwconv1", "fc2": "pwconv2"},
    norm="norm",
)
TIMM = Layout(
    library="timm",
    first="stem.",
    halving="stages.{}.downsample.",
    block="stages.{}.blocks.{}.",
    parts={"depthwise_conv": "conv_dw", "norm": "norm", "fc1": "mlp.fc1", "fc2": "mlp.fc2"},
    norm="head.norm",
)
TRANSFORMERS = Layout(
    library="Hugging Face transformers",
    first="stages.0.downsample_layers.",
    halving="stages.{}.downsample_layers.",
    block="stages.{}.layers.{}.",
    parts={
        "depthwise_conv": "depthwise_conv",
        "norm": "layer_norm",
        "fc1": "pointwise_conv1",
        "fc2": "pointwise_conv2",
    },
    norm="layer_norm",
)
IN_MEMORY = dataclasses.replace(
    TRANSFORMERS,
    library="Hugging Face transformers 5, in memory",
    first=f"model.{TRANSFORMERS.first}",
    halving=f"model.{TRANSFORMERS.halving}",
    block=f"model.{TRANSFORMERS.block}",
)


def recognise_dinov3_convnext(variables: Variables, beside: Beside, image_size: int | None = None) -> Recognised | None:
    """The network of a file of DINOv3's or EUPE's ConvNeXts, None where it is another's."""
    layout = next((layout for layout in (META, TIMM, TRANSFORMERS, IN_MEMORY) if _is_of(layout, variables)), None)
    if layout is None:
        return None
    _check_settings(variables, beside)
    is_eupe = bool(variables.starting_with("projectors.")) or "eupe" in beside.timm_name
    family = EUPE if is_eupe else FAMILY
    preprocessing, note = preprocessing_of(family, beside)
    config = EncoderConfig(**_size(layout, variables), preprocessing=preprocessing)
    encoder = build_network(config, image_size=image_size, channels=3)
    facts = facts_of(family.licence, _FEATURE, layout.library, preprocessing, family.image_size)
    told = "model_type" in beside.transformers or beside.timm
    notes = [f"feature: {_FEATURE}", f"licence: {family.licence}", *note]
    if not told and "norms.3.weight" not in variables.shapes:
        notes.append(f"taken for {family.name}'s, as it has no classifier; a config.json beside it would tell")
    name = f"{family.name} ConvNeXt, in the layout of {layout.library}"
    links = _links(encoder, layout)
    return Recognised(name, config, encoder, None, None, links, _UNUSED, tuple(notes), facts)


def _is_of(layout: Layout, variables: Variables) -> bool:
    names = (layout.block.format(0, 0) + layout.parts["depthwise_conv"], f"{layout.first}0")
    return variables.is_torch and all(f"{name}.weight" in variables.shapes for name in names)


def _check_settings(variables: Variables, beside: Beside) -> None:
    told = beside.transformers
    if told.get("layer_norm_eps", 1e-6) != 1e-6 or told.get("hidden_act", "gelu") != "gelu":
        raise InputError(
            "a ConvNeXt of DINOv3 has GELU and an epsilon of 1e-6; its config.json tells "
            f"hidden_act={told.get('hidden_act')}, layer_norm_eps={told.get('layer_norm_eps')}"
        )
    name = beside.timm_name
    other = name and not ("dinov3" in name or "eupe" in name)
    if other or any(re.match(r"head\.(fc\.|weight$)", held) for held in variables.shapes):
        raise InputError(f"a ConvNeXt{f' ({name})' if name else ''} that is not DINOv3's or EUPE's is not read")


def _size(layout: Layout, variables: Variables) -> dict[str, Any]:
    """The name of the network, and how much wider it is."""
    depths = []
    for stage in range(4):
        before, after = map(re.escape, layout.block.replace("{}", str(stage), 1).split("{}"))
        depths.append(
            len({match[1] for name in variables.shapes if (match := re.match(rf"{before}(\d+){after}", name))})
        )
    width = variables.shapes[f"{layout.first}0.weight"][0]
    members = {name: published for name, (blocks, published) in SIZES.items() if blocks == tuple(depths)}
    if not members:
        blocks = "; ".join(f"{name} {own}" for name, (own, _) in SIZES.items())
        raise InputError(f"a ConvNeXt with {tuple(depths)} blocks is none of the published: {blocks}")
    name = next((name for name, published in members.items() if published == width), next(iter(members)))
    multiplier = width / members[name]
    return {"encoder": name, **({} if multiplier == 1 else {"width_multiplier": multiplier})}


def _links(encoder: keras.Model, layout: Layout) -> list[Link]:
    made = []
    for layer_name in encoder.layer_order:
        layer = encoder.get_layer(layer_name)
        for weight in layer.weights:
            source = _source(layer_name, weight.name, layout)
            combine = (
                _depthwise if isinstance(layer, keras.layers.DepthwiseConv2D) and weight.name == "kernel" else None
            )
            made.append(Link(f"encoder/{layer_name}/{weight.name}", weight, source, combine=combine))
    return made


def _source(layer: str, weight: str, layout: Layout) -> str:
    word = WEIGHTS[weight]
    if match := re.fullmatch(r"block_group(\d)_block(\d+)_(.+)", layer):
        home = layout.block.format(int(match[1]) - 1, int(match[2]) - 1)
        return f"{home}gamma" if match[3] == "scale" else f"{home}{layout.parts[match[3]]}.{word}"
    if match := re.fullmatch(r"stage(\d)_(norm|conv)", layer):
        return f"{layout.halving.format(int(match[1]) - 1)}{int(match[2] == 'conv')}.{word}"
    places = {"initial_conv": f"{layout.first}0", "initial_norm": f"{layout.first}1", "final_norm": layout.norm}
    return f"{places[layer]}.{word}"


def _depthwise(kernel):
    """`[C, 1, h, w]` -> `[h, w, C, 1]`."""
    return kernel.transpose(2, 3, 0, 1)
