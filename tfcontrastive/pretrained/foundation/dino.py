"""DINO, MAE and plain vision transformers: networks of one kind, told apart by what else the file holds, or lies beside."""

from __future__ import annotations

import numpy as np

from tfcontrastive.encoders.positions import sin_cos_positions
from tfcontrastive.pretrained.foundation.beside import Beside
from tfcontrastive.pretrained.foundation.family import NO_COMMERCE, Family, Found
from tfcontrastive.pretrained.foundation.layouts import IN_MEMORY_VIT, META, TIMM, TRANSFORMERS_VIT, Layout
from tfcontrastive.pretrained.foundation.links import positions_of
from tfcontrastive.pretrained.variables import Variables

_TRAINING = {
    r"^teacher/(backbone\.fc\.|head\.)": "the head of training",
    r"^(student|optimizer|dino_loss)/": "state of the training, beside the teacher's network",
}
_DECODER = {
    r"^(decoder_|decoder\.)": "the decoder of masked training",
    r"^fc_norm\.": "a normalisation of the mean of the patches; the feature is the class token",
}
_POOLER = {r"pooler\.dense\.": "a layer between the class token and a classifier of another file"}

DINO = Family("DINO", "Apache-2.0", "imagenet_bicubic", {"positions": "learned"}, unused=_TRAINING)
MAE = Family("MAE", f"CC-BY-NC-4.0, {NO_COMMERCE}", "imagenet_bicubic", {"positions": "learned"}, unused=_DECODER)
VIT = Family("ViT", "Apache-2.0, as Google's and timm's are", "vit", {"positions": "learned"}, unused=_POOLER)


def recognise_dino(variables: Variables, beside: Beside) -> Found | None:
    """A file of one of the three, None where it is another's."""
    found = _layout(variables)
    if found is None:
        return None
    layout, prefix = found
    if positions_of(variables, layout, prefix).side == 0 or _is_moco(variables, layout, prefix, beside):
        return None
    family, note = _family(variables, layout, prefix, beside)
    if layout in (TRANSFORMERS_VIT, IN_MEMORY_VIT):
        interpolation = "bicubic"
        epsilon = beside.transformers.get("layer_norm_eps", 1e-12)
    else:
        is_meta = family is DINO and not beside.timm
        interpolation, epsilon = "bicubic_offset" if is_meta else "bicubic_antialias", 1e-6
    classifier = "classifier." if layout in (TRANSFORMERS_VIT, IN_MEMORY_VIT) else "head."
    if family is not VIT and layout is META:
        classifier = ""
    if layout is META and (beside.timm or family is VIT):
        layout = TIMM
    options = {"interpolation": interpolation, "epsilon": epsilon}
    if layout.class_token not in variables.starting_with(prefix):
        options["pool"] = "mean"
    return Found(family, layout, prefix, beside, options, classifier=classifier, notes=note)


def _layout(variables: Variables) -> tuple[Layout, str] | None:
    for prefix in ("", "teacher/backbone.", "module.", "backbone."):
        held = variables.starting_with(prefix)
        if {"blocks.0.attn.qkv.weight", "pos_embed", "cls_token"} <= set(held) and "blocks.0.ls1.gamma" not in held:
            return META, prefix
    for prefix in ("", "vit."):
        if f"{prefix}encoder.layer.0.layernorm_before.weight" in variables.shapes:
            return TRANSFORMERS_VIT, prefix
        if f"{prefix}layers.0.layernorm_before.weight" in variables.shapes:
            return IN_MEMORY_VIT, prefix
    return None


def _is_moco(variables: Variables, layout: Layout, prefix: str, beside: Beside) -> bool:
    """MoCo v3's networks are of this kind too, with fixed places, rows first."""
    if layout is not META or beside.timm or "norm_pre.weight" in variables.shapes:
        return "norm_pre.weight" in variables.shapes
    return _fixed(variables, f"{prefix}pos_embed", rows_first=True)


def _fixed(variables: Variables, name: str, *, rows_first: bool) -> bool:
    """Whether a table of places is sines and cosines: of rows first, as MoCo v3's, or of columns first, as MAE's."""
    held = np.asarray(variables.read(name), np.float32)[0]
    side = round((len(held) - 1) ** 0.5)
    if side * side != len(held) - 1 or held.shape[1] % 4:
        return False
    made = np.asarray(sin_cos_positions(side, side, held.shape[1]))
    if not rows_first:
        made = np.roll(made, held.shape[1] // 2, axis=1)
    return np.allclose(held[0], 0, atol=1e-3) and np.allclose(held[1:], made, atol=1e-3)


def _family(variables: Variables, layout: Layout, prefix: str, beside: Beside) -> tuple[Family, tuple[str, ...]]:
    names = set(variables.shapes)
    if variables.kind == "keras_hub":  # whose ViTs are Google's
        return VIT, ()
    if any(name.startswith(("decoder_", "decoder.")) for name in names) or "mae" in beside.timm_name.split("."):
        return MAE, ()
    if beside.transformers.get("model_type") == "vit_mae" or _fixed(
        variables, prefix + layout.positions, rows_first=False
    ):
        return MAE, ()
    if prefix.startswith("teacher/") or "dino" in beside.timm_name.split("."):
        return DINO, ()
    if beside.timm:
        return VIT, ()
    if any(name.startswith(("head.", "classifier.", f"{prefix}pooler.", f"{prefix}head.")) for name in names):
        told = () if beside.mean_and_std else (
            "preprocessing: (pixels - 0.5) / 0.5, as Google's; a preprocessor_config.json beside it would tell",
        )  # fmt: skip
        return VIT, told
    return DINO, ("taken for DINO's, as it has no classifier and no pooler; a config.json beside it would tell",)
