"""DINOv3's vision transformers, and EUPE's, which are laid out alike."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.foundation.beside import Beside
from tfcontrastive.pretrained.foundation.family import NO_COMMERCE, Family, Found
from tfcontrastive.pretrained.foundation.layouts import META_DINOV3, TIMM_EVA, TRANSFORMERS_DINOV3, Layout
from tfcontrastive.pretrained.variables import Variables

FAMILY = Family(
    name="DINOv3",
    licence="DINOv3 License, Meta's own terms",
    preprocessing="imagenet_whole",
    options={"positions": "rotary", "epsilon": 1e-5},
    image_size=256,
    heads={1280: 20, 4096: 32},
    unused={
        r"(^|\.)bias_mask$": "zeros of the keys' bias, which this network does not have",
        r"rope_embed\.": "frequencies, which the network makes itself",
        r"local_cls_norm\.": "a normalisation for crops in training",
        r"^projectors\.": "heads of distillation",
        r"attn\.k_bias$": "the keys' bias, which is zero",
    },
)
EUPE = dataclasses.replace(FAMILY, name="EUPE", licence=f"FAIR Research License, {NO_COMMERCE}")


def recognise_dinov3(variables: Variables, beside: Beside) -> Found | None:
    """A file of DINOv3 or EUPE, None where it is another's."""
    found = _layout(variables)
    if found is None:
        return None
    layout, prefix = found
    is_eupe = bool(variables.starting_with("projectors.")) or "eupe" in beside.timm_name
    options = {}
    if beside.transformers.get("layer_norm_eps"):
        options["epsilon"] = beside.transformers["layer_norm_eps"]
    theta = beside.transformers.get("rope_theta", 100.0)
    if theta != 100.0:
        raise InputError(f"a DINOv3 whose rope_theta is {theta:g} is none of its published members, where it is 100")
    return Found(EUPE if is_eupe else FAMILY, layout, prefix, beside, options)


def _layout(variables: Variables) -> tuple[Layout, str] | None:
    for prefix in ("", "teacher/backbone.", "backbone."):
        if f"{prefix}storage_tokens" in variables.shapes:
            return META_DINOV3, prefix
    if {"reg_token", "blocks.0.gamma_1"} <= set(variables.shapes) and "pos_embed" not in variables.shapes:
        return TIMM_EVA, ""
    for prefix in ("", "model.", "dinov3_vit."):
        if f"{prefix}layer.0.attention.q_proj.weight" in variables.shapes:
            return TRANSFORMERS_DINOV3, prefix
        if f"{prefix}model.layer.0.attention.q_proj.weight" in variables.shapes:  # as transformers 5 has it in memory
            return dataclasses.replace(TRANSFORMERS_DINOV3, block="model.layer.{}."), prefix
    return None
