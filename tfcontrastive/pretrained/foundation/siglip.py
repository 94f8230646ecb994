"""SigLIP and SigLIP 2: no class token, attention pooling."""

from __future__ import annotations

from tfcontrastive.config import InputError
from tfcontrastive.pretrained.foundation.beside import Beside
from tfcontrastive.pretrained.foundation.family import Family, Found
from tfcontrastive.pretrained.foundation.layouts import TIMM, TRANSFORMERS_CLIP
from tfcontrastive.pretrained.variables import Variables

FAMILY = Family(
    name="SigLIP",
    licence="Apache-2.0",
    preprocessing="siglip",
    options={"positions": "learned"},
    unused={
        r"^(text\.|text_model\.)": "the text tower",
        r"^(logit_scale|logit_bias)$": "the other side of the comparison with texts",
        r"(^|\.)position_ids$": "a count of the places",
    },
)

_TANH = ("patch32_siglip", "large_patch16_siglip_512", "large_patch16_siglip_gap_512", "so400m_patch16", "giantopt")
"""In the names of timm's networks that have GELU by its formula with tanh; the others have the exact one."""


def recognise_siglip(variables: Variables, beside: Beside) -> Found | None:
    """A file of SigLIP, None where it is another's."""
    held = set(variables.shapes)
    for prefix in ("", "visual.trunk."):
        if {f"{prefix}pos_embed", f"{prefix}blocks.0.norm1.weight"} <= held and f"{prefix}cls_token" not in held:
            return _of_timm(variables, beside, prefix)
    for prefix in ("vision_model.", ""):
        names = {f"{prefix}embeddings.position_embedding.weight", f"{prefix}embeddings.patch_embedding.bias"}
        if names <= held and f"{prefix}embeddings.class_embedding" not in held:
            return _of_transformers(variables, beside, prefix)
    return None


def _of_timm(variables: Variables, beside: Beside, prefix: str) -> Found:
    name = beside.timm_name
    tower = beside.open_clip.get("vision_cfg", {}).get("timm_model_name", "")
    activation = "gelu_tanh" if any(part in name or part in tower for part in _TANH) else "gelu"
    pool = "attention" if f"{prefix}attn_pool.latent" in variables.shapes else "mean"
    options = {"interpolation": "bicubic_antialias", "activation": activation, "pool": pool}
    told = name or tower
    notes = () if told else ("GELU: the exact one, as most of timm's have; a config.json beside it would tell",)
    return Found(FAMILY, TIMM, prefix, beside, options, notes=notes)


def _of_transformers(variables: Variables, beside: Beside, prefix: str) -> Found:
    told = beside.transformers
    activations = {"gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}
    name = told.get("hidden_act", "gelu_pytorch_tanh")
    if name not in activations:
        raise InputError(f"a SigLIP whose hidden_act is {name} is not known")
    pool = "attention" if f"{prefix}head.probe" in variables.shapes else "mean"
    options = {
        "interpolation": "bicubic",
        "activation": activations[name],
        "epsilon": told.get("layer_norm_eps", 1e-6),
        "pool": pool,
    }
    return Found(FAMILY, TRANSFORMERS_CLIP, prefix, beside, options, classifier="")
