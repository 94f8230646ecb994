"""facebookresearch/moco-v3, vision transformers: timm's names, after the prefix of the encoder.

module.base_encoder.blocks.3.attn.qkv.weight
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tfcontrastive.config import EncoderConfig, InputError
from tfcontrastive.encoders.tokens import sin_cos_positions
from tfcontrastive.encoders.vit import SIZES
from tfcontrastive.pretrained.mapping import Link, Recognised
from tfcontrastive.pretrained.torchvision import COUNTER, WEIGHTS, mlp_of
from tfcontrastive.pretrained.variables import Variables
from tfcontrastive.runs.builders import build_network

_UNUSED = {
    **COUNTER,
    r"^module\.momentum_encoder\.": "the momentum encoder",
    r"^module\.predictor\.": "the predictor",
    r"(^|\.)pos_embed$": "fixed sines and cosines, which the network makes itself; compared, and equal",
}
# Prefix of the encoder, and what its `head` is: pre-training files have a projector there, linear ones a classifier.
_LAYOUTS = {"module.base_encoder.": "projection_head", "module.": "supervised_head", "": "supervised_head"}
_PARTS = {"patch_embed": "patch_embed.proj", "fc1": "mlp.fc1", "fc2": "mlp.fc2", "attention": "attn"}


def recognise_vit(
    variables: Variables, image_size: int | None = None, ft_proj_selector: int | None = None
) -> Recognised | None:
    """The networks of such a file, None where it is another's."""
    prefix = next((prefix for prefix in _LAYOUTS if f"{prefix}cls_token" in variables.shapes), None)
    if prefix is None or not variables.is_torch:
        return None
    held = variables.starting_with(prefix)
    width, _, patch, _ = held.get("patch_embed.proj.weight", (0, 0, 0, 0))
    depth = len({name.split(".")[1] for name in held if name.startswith("blocks.")})
    size = next((name for name, (wide, deep, _) in SIZES.items() if (wide, deep) == (width, depth)), None)
    if size is None:
        raise InputError(f"a vision transformer {width} wide with {depth} blocks is none of MoCo v3's")
    _check_positions(variables, f"{prefix}pos_embed", width)
    config = EncoderConfig(encoder=size, patch_size=patch, preprocessing="imagenet")
    encoder = build_network(config, image_size=image_size, channels=3)
    found = [Link(f"encoder/{variable.path}", variable, prefix + timm_name(variable.path),
                  squeeze=variable.name == "class_token") for variable in encoder.variables]  # fmt: skip
    heads: dict[str, Any] = {"projection_head": None, "supervised_head": None}
    head = mlp_of(variables, f"{prefix}head.", _LAYOUTS[prefix])
    if head is not None:
        heads[_LAYOUTS[prefix]], more = head
        found += more
    return Recognised("facebookresearch/moco-v3, ViT", config, encoder, **heads, links=found, unused=_UNUSED)


def timm_name(path: str) -> str:
    """The name of a variable of `ViT` in timm's: block1_attention/qkv/kernel -> blocks.0.attn.qkv.weight."""
    if path == "tokens/class_token":
        return "cls_token"
    layer, *inner, weight = path.split("/")
    block = re.fullmatch(r"block(\d+)_(.+)", layer)
    home = f"blocks.{int(block[1]) - 1}." if block else ""
    part = block[2] if block else layer
    return home + ".".join((_PARTS.get(part, part), *inner, WEIGHTS[weight]))


def _check_positions(variables: Variables, name: str, width: int) -> None:
    """Ours are made, not loaded: a file whose embeddings were learned would not be the same network."""
    if name not in variables.shapes:
        return
    held = variables.read(name)[0]
    side = round((len(held) - 1) ** 0.5)
    made = np.concatenate([np.zeros([1, width]), sin_cos_positions(side, side, width)])
    if held.shape != made.shape or not np.allclose(held, made, atol=1e-3):
        raise InputError(f"{name} is not the fixed sines and cosines of MoCo v3")
