"""EfficientNet-Lite with ImageNet's labels: files of efficientnet-lite-pytorch, which PyPI has, and of timm.

_blocks.3._depthwise_conv.weight    efficientnet-lite-pytorch: blocks counted through
blocks.2.0.conv_dw.weight           timm: by group and block
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import keras

from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.encoders.efficientnet_lite import SIZES, Block, blocks_of
from tfcontrastive.pretrained.foundation.beside import read_beside
from tfcontrastive.pretrained.foundation.family import facts_of
from tfcontrastive.pretrained.mapping import Link, Recognised
from tfcontrastive.pretrained.torchvision import COUNTER, WEIGHTS, mlp_of
from tfcontrastive.pretrained.variables import Variables
from tfcontrastive.runs.builders import build_network

IMAGE_SIZES = dict(zip(SIZES, (224, 240, 260, 280, 300), strict=True))
PREPROCESSED = "efficientnet_lite"
LICENCE = "Apache-2.0"
_FEATURE = "the mean of the last map over its positions, below the classifier of ImageNet's labels"


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a library calls the layers.

    Attributes:
        library: that writes such files.
        outer: `{our layer: its name}` outside the blocks.
        block: (index of the block, it) -> prefix of its variables.
        parts: of a block that widens its input, `{our part: its name}`.
        first: of the block that does not.
        classifier: prefix of the classifier.
    """

    library: str
    outer: dict[str, str]
    block: Callable[[int, Block], str]
    parts: dict[str, str]
    first: dict[str, str]
    classifier: str


def _timm_block(_: int, block: Block) -> str:
    group, number = re.findall(r"\d+", block.name)
    return f"blocks.{int(group) - 1}.{int(number) - 1}."


_PARTS = {"expand_conv": "_expand_conv", "expand_norm": "_bn0", "depthwise_conv": "_depthwise_conv",
          "depthwise_norm": "_bn1", "project_conv": "_project_conv", "project_norm": "_bn2"}  # fmt: skip
PYTORCH = Layout(
    library="efficientnet-lite-pytorch",
    outer={"initial_conv": "_conv_stem", "initial_norm": "_bn0", "final_conv": "_conv_head", "final_norm": "_bn1"},
    block=lambda index, _: f"_blocks.{index}.",
    parts=_PARTS,
    first=_PARTS,
    classifier="_fc.",
)
TIMM = Layout(
    library="timm",
    outer={"initial_conv": "conv_stem", "initial_norm": "bn1", "final_conv": "conv_head", "final_norm": "bn2"},
    block=_timm_block,
    parts={
        "expand_conv": "conv_pw",
        "expand_norm": "bn1",
        "depthwise_conv": "conv_dw",
        "depthwise_norm": "bn2",
        "project_conv": "conv_pwl",
        "project_norm": "bn3",
    },
    first={"depthwise_conv": "conv_dw", "depthwise_norm": "bn1", "project_conv": "conv_pw", "project_norm": "bn2"},
    classifier="classifier.",
)


def recognise_efficientnet_lite(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The networks of such a file, None where it is another's."""
    layout = next((layout for layout in (PYTORCH, TIMM) if _is_of(layout, variables)), None)
    if layout is None:
        return None
    size = next((name for name in SIZES if _fits(name, layout, variables)), None)
    if size is None and layout is TIMM:
        return None  # one of its many other networks of such blocks
    if size is None:
        gates = "; it has gates (squeeze and excitation)" if "_blocks.0._se_reduce.weight" in variables.shapes else ""
        raise InputError(f"its blocks are those of no EfficientNet-Lite0 to 4{gates}")
    if layout is TIMM:
        _check_settings(size, variables)
    config = EncoderConfig(encoder=size, preprocessing=PREPROCESSED)
    encoder = build_network(config, image_size=image_size, channels=3)
    links = _links(encoder, size, layout)
    head = mlp_of(variables, layout.classifier, "supervised_head")
    if head is not None:
        links += head[1]
    facts = facts_of(LICENCE, _FEATURE, layout.library, PREPROCESSED, IMAGE_SIZES[size])
    family = f"EfficientNet-Lite{size[-1]}, in the layout of {layout.library}"
    notes = (f"feature: {_FEATURE}", f"licence: {LICENCE}")
    return Recognised(family, config, encoder, None, head and head[0], links, COUNTER, notes, facts)


def _is_of(layout: Layout, variables: Variables) -> bool:
    first = layout.block(0, blocks_of(1.0, 1.0)[0]) + layout.first["depthwise_conv"]
    names = {f"{layout.outer['initial_conv']}.weight", f"{first}.weight"}
    return variables.is_torch and names <= set(variables.shapes)


def _fits(size: str, layout: Layout, variables: Variables) -> bool:
    """Whether the file's blocks are those of a size: their number, kernels and filters, and no more."""
    blocks = blocks_of(*SIZES[size])
    inputs = 32
    for index, block in enumerate(blocks):
        parts = layout.parts if block.expansion > 1 else layout.first
        held = variables.starting_with(layout.block(index, block))
        wide = block.expansion * inputs
        if held.get(f"{parts['depthwise_conv']}.weight") != (wide, 1, block.kernel, block.kernel):
            return False
        if held.get(f"{parts['project_conv']}.weight") != (block.filters, wide, 1, 1):
            return False
        inputs = block.filters
    depthwise = [name for name in variables.shapes if name.endswith(f".{layout.first['depthwise_conv']}.weight")]
    return len(depthwise) == len(blocks)


def _check_settings(size: str, variables: Variables) -> None:
    """timm has two of each: one is padded as TensorFlow's, which variables do not tell."""
    told = read_beside(variables.path).timm.get("architecture")
    if told is None:
        raise InputError(
            f"timm's tf_{size} and {size} have the same variables and pad otherwise: the config.json that tells which "
            "must lie beside it"
        )
    if told != f"tf_{size}":
        raise InputError(f"timm's {told} pads its strides on both sides and is not read; tf_{size} is")


def _links(encoder: keras.Model, size: str, layout: Layout) -> list[Link]:
    names = dict(layout.outer)
    for index, block in enumerate(blocks_of(*SIZES[size])):
        parts = layout.parts if block.expansion > 1 else layout.first
        names |= {f"{block.name}_{ours}": layout.block(index, block) + theirs for ours, theirs in parts.items()}
    made = []
    for name in encoder.layer_order:
        layer = encoder.get_layer(name)
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        for weight in layer.weights:
            source = f"{names[name]}.{WEIGHTS[weight.name]}"
            made.append(
                Link(f"encoder/{name}/{weight.name}", weight, source, combine=_depthwise if depthwise else None)
            )
    return made


def _depthwise(kernel):
    """`[C, 1, h, w]` -> `[h, w, C, 1]`."""
    return kernel.transpose(2, 3, 0, 1)
