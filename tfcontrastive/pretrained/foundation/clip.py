"""CLIP's vision transformers: OpenAI's and LAION's."""

from __future__ import annotations

import numpy as np

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.foundation.beside import Beside
from tfcontrastive.pretrained.foundation.family import Family, Found
from tfcontrastive.pretrained.foundation.layouts import OPEN_CLIP, TIMM, TRANSFORMERS_CLIP, Layout
from tfcontrastive.pretrained.variables import Variables

_TEXT = {
    r"^(module\.)?(text\.|text_model\.|transformer\.|token_embedding\.|positional_embedding$|ln_final\.|attn_mask$)":
        "the text tower",
    r"^(module\.)?(text_projection|logit_scale|logit_bias)": "the other side of the comparison with texts",
    r"(^|\.)position_ids$": "a count of the places",
    r"(^|\.)head\.bias$": "zeros",
    r"^(input_resolution|context_length|vocab_size)$": "a size",
}  # fmt: skip
_OPTIONS = {"positions": "learned", "epsilon": 1e-5}

OPENAI = Family("CLIP of OpenAI", "MIT", "clip", {**_OPTIONS, "activation": "quick_gelu"}, unused=_TEXT)
OTHERS = Family("CLIP", "its publisher's; MIT for OpenAI's and LAION's", "clip", _OPTIONS, unused=_TEXT)


def recognise_clip(variables: Variables, beside: Beside) -> Found | None:
    """A file of CLIP, None where it is another's."""
    found = _layout(variables)
    if found is None:
        return None
    layout, prefix = found
    if layout is TIMM:
        return _of_timm(variables, beside, prefix)
    if layout is OPEN_CLIP:
        sizes = {"input_resolution", "context_length", "vocab_size"}
        is_openai = sizes <= set(variables.shapes)
        quick = True if is_openai else beside.open_clip.get("quick_gelu", False if beside.open_clip else None)
        options = {"interpolation": "bicubic_antialias", "activation": _activation(quick)}
        projection = f"{prefix}proj" if f"{prefix}proj" in variables.shapes else ""
        return Found(
            OPENAI if is_openai else OTHERS, layout, prefix, beside, options, projection=projection, classifier=""
        )
    told = beside.transformers
    name = told.get("hidden_act")
    activations = {"quick_gelu": "quick_gelu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh"}
    if name is not None and name not in activations:
        raise InputError(f"a CLIP whose hidden_act is {name} is not known")
    activation = activations[name] if name else _activation(None)
    options = {"interpolation": "bicubic", "activation": activation, "epsilon": told.get("layer_norm_eps", 1e-5)}
    projection = "visual_projection.weight" if "visual_projection.weight" in variables.shapes else ""
    return Found(OTHERS, layout, prefix, beside, options, projection=projection, classifier="")


def _layout(variables: Variables) -> tuple[Layout, str] | None:
    for prefix in ("visual.", "module.visual.", ""):
        if {f"{prefix}class_embedding", f"{prefix}conv1.weight"} <= set(variables.shapes):
            return OPEN_CLIP, prefix
        if f"{prefix}attnpool.positional_embedding" in variables.shapes:
            raise InputError("CLIP's ResNets are not read; its vision transformers are")
    for prefix in ("vision_model.", ""):
        if f"{prefix}embeddings.class_embedding" in variables.shapes:
            return TRANSFORMERS_CLIP, prefix
    for prefix in ("", "visual.trunk."):
        if f"{prefix}norm_pre.weight" in variables.shapes and f"{prefix}blocks.0.norm1.weight" in variables.shapes:
            return TIMM, prefix
    return None


def _activation(quick: bool | None) -> str:
    if quick is None:
        raise InputError(
            "no variable of a CLIP tells GELU from OpenAI's QuickGELU: the config.json or open_clip_config.json that is "
            "published with it must lie beside it"
        )
    return "quick_gelu" if quick else "gelu"


def _of_timm(variables: Variables, beside: Beside, prefix: str) -> Found:
    name = beside.timm_name
    quick = "quickgelu" in name if name else beside.open_clip.get("quick_gelu", False if beside.open_clip else None)
    options = {"interpolation": "bicubic_antialias", "activation": _activation(quick)}
    weight, bias = f"{prefix}head.weight", f"{prefix}head.bias"
    family = OPENAI if name.endswith(".openai") else OTHERS
    projection = ""
    if weight in variables.shapes and (bias not in variables.shapes or not np.any(variables.read(bias))):
        projection = f"{prefix}head.weight"  # timm keeps it as a classifier whose bias is zero
    return Found(family, TIMM, prefix, beside, options, projection=projection)
