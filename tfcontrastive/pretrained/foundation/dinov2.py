"""DINOv2, with and without registers."""

from __future__ import annotations

from tfcontrastive.pretrained.foundation.beside import Beside
from tfcontrastive.pretrained.foundation.family import Family, Found
from tfcontrastive.pretrained.foundation.layouts import IN_MEMORY_DINOV2, META, TIMM, TRANSFORMERS_DINOV2, Layout
from tfcontrastive.pretrained.variables import Variables

FAMILY = Family(
    name="DINOv2",
    licence="Apache-2.0",
    preprocessing="imagenet_bicubic",
    options={"positions": "learned"},
    image_size=224,
    unused={
        r"^teacher/(?!backbone\.)": "a head of training",
        r"^(student|optimizer)/": "state of the training",
        r"^/": "state of the training, beside the network's",
        r"^embeddings\.interpolated\.": "the positions at another size, which the network makes itself",
    },
)


def recognise_dinov2(variables: Variables, beside: Beside) -> Found | None:
    """A file of DINOv2, None where it is another's."""
    found = _layout(variables)
    if found is None:
        return None
    layout, prefix = found
    registers = prefix + layout.registers in variables.shapes
    # Each as its own library interpolates.
    plain = {"Meta": "bicubic_offset", "timm": "bicubic_antialias"}.get(layout.library, "bicubic")
    options = {"interpolation": "bicubic_antialias" if registers else plain}
    if beside.transformers.get("layer_norm_eps"):
        options["epsilon"] = beside.transformers["layer_norm_eps"]
    return Found(FAMILY, layout, prefix, beside, options, classifier="classifier." if prefix == "dinov2." else "head.")


def _layout(variables: Variables) -> tuple[Layout, str] | None:
    for prefix in ("", "teacher/backbone.", "module.", "backbone."):
        if f"{prefix}blocks.0.ls1.gamma" in variables.shapes and f"{prefix}pos_embed" in variables.shapes:
            is_meta = any(f"{prefix}{name}" in variables.shapes for name in ("mask_token", "register_tokens"))
            return META if is_meta else TIMM, prefix
    for prefix in ("", "dinov2.", "dinov2_with_registers."):
        if f"{prefix}encoder.layer.0.layer_scale1.lambda1" in variables.shapes:
            in_memory = f"{prefix}encoder.layer.0.attention.q_proj.weight" in variables.shapes
            return IN_MEMORY_DINOV2 if in_memory else TRANSFORMERS_DINOV2, prefix
    return None
