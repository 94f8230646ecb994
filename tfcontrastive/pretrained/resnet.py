"""Which ResNet a set of kernels belongs to, told from their shapes alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from tfcontrastive.config import InputError
from tfcontrastive.encoders.resnet import DEPTHS

Shape = tuple[int, ...]
_SK_RATIO = 0.0625  # of all published networks; a hidden width of 32, the least, fits smaller ones too


def recognise(stem: Sequence[Shape], rest: Iterable[Shape], biases: Iterable[int] = ()) -> dict[str, Any]:
    """The arguments of `ResNet`, and of `EncoderConfig`, for a network with these kernels.

    Args:
        stem: shapes `[height, width, in, out]` of the kernels before the first block, in order.
        rest: those of the blocks that have no bias, in any order.
        biases: the lengths of all biases: only squeeze and excitation has any.

    Raises:
        InputError: the blocks are not those of any ResNet.
    """
    rest = list(rest)
    wide = [out for height, _, _, out in rest if height == 3]
    width = stem[-1][3] / 64
    groups = [64 * width * 2**group for group in range(4)]
    features = max(out for *_, out in rest)
    bottleneck = features == 4 * groups[3]
    selective = bottleneck and max(wide) == 2 * groups[3]
    convolutions = Counter(out / (2 if selective else 1) for out in wide)
    blocks = tuple(convolutions[filters] // (1 if bottleneck else 2) for filters in groups)
    depth = next((depth for depth, kind in DEPTHS.items() if kind == (bottleneck, blocks)), None)
    if depth is None or sum(convolutions.values()) != sum(convolutions[filters] for filters in groups):
        kind = "bottleneck" if bottleneck else "basic"
        raise InputError(f"its blocks are those of no ResNet: {kind}, {blocks} in its groups, {width:g} times as wide")
    sk_ratio = 0.0
    if selective:  # the mixing layer [hidden -> 2 filters]; nothing else so wide has so few inputs
        hidden = min(inputs for height, _, inputs, out in rest if height == 1 and out == 2 * groups[3])
        sk_ratio = _SK_RATIO if hidden == max(int(groups[3] * _SK_RATIO), 32) else hidden / groups[3]
    elif len(stem) == 3:  # ResNet-D without selective kernels, as SimCLR builds depth 18 and 34
        sk_ratio = _SK_RATIO
    se_ratio = 0.0
    if biases := list(biases):
        expanded = Counter({int(features / groups[3] * filters): n for filters, n in zip(groups, blocks, strict=True)})
        se_ratio = max(Counter(biases) - expanded) / features
    return {
        "resnet_depth": depth,
        "width_multiplier": width,
        "sk_ratio": sk_ratio,
        "se_ratio": se_ratio,
        "stem": "small" if len(stem) == 1 and stem[0][0] == 3 else "large",
    }


def place(layer: str) -> tuple[int | None, int | None, str]:
    """A layer of `ResNet` by group, block and part: `block_group2_block1_sk_conv` -> (2, 1, "sk_conv").

    The stem's have no group: `initial_norm1` -> (None, None, "norm1").
    """
    if layer.startswith("initial_"):
        return None, None, layer.removeprefix("initial_")
    group, block, part = re.fullmatch(r"block_group(\d+)_block(\d+)_(.+)", layer).groups()
    return int(group), int(block), part


def is_norm(layer: str) -> bool:
    """Whether a layer of `ResNet` is a normalisation; the others with weights are convolutions."""
    return "norm" in place(layer)[2]


def natural(name: str) -> list[object]:
    """A key that sorts names by the numbers in them: conv2d_2 before conv2d_10, and conv2d before both."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]
