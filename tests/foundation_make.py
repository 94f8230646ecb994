"""Writes fixtures/foundation: features of the original libraries, with weights by the rule of `tests.foundation`.

Needs torch, timm, transformers and open_clip_torch, in an environment of their own; `python -m tests.foundation_make`.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

import numpy as np
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.foundation import FOLDER, images, stored, weight

torch.set_grad_enabled(False)
VERSIONS = {"timm": timm.__version__, "transformers": transformers.__version__, "torch": torch.__version__}


def by_rule(shapes, zeros=()):
    """`{name: tensor}` of `{name: shape}`."""
    return {
        name: torch.zeros(*shape) if name in zeros else torch.tensor(weight(name, shape))
        for name, shape in shapes.items()
    }


def pixels(size):
    return torch.tensor(images(size).transpose(0, 3, 1, 2).copy())


def case(name, shapes, features, *, file, beside=None, as_folder=False, zeros=()):
    """One case of a fixture. `features`: `{(height, width): array}`."""
    variables = [[key, list(shape), *(["zeros"] if key in zeros else [])] for key, shape in shapes.items()]
    return {
        "case": name,
        "file": file,
        "as_folder": as_folder,
        "beside": beside or {},
        "variables": variables,
        "features": [[list(size), stored(np.asarray(value))] for size, value in features.items()],
    }


def shapes_of(state):
    return {name: tuple(value.shape) for name, value in state.items()}


def timm_model(name, sizes, **options):
    """A small network of timm with weights by the rule, its shapes, and its features at each size."""
    model = timm.create_model(name, **options).eval()
    shapes = shapes_of(model.state_dict())
    model.load_state_dict(by_rule(shapes))
    return model, shapes, {size: timm_features(model, size) for size in sizes}


def timm_features(model, size):
    return model.forward_head(model.forward_features(pixels(size)), pre_logits=True).numpy()


def timm_beside(name, model, **options):
    """config.json as timm's `save_config_for_hf` writes it."""
    from timm.models._hub import save_config_for_hf

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "config.json"
        save_config_for_hf(model, str(path))
        return {"config.json": json.loads(path.read_text())}


def on_disk(model):
    """Names and shapes as `save_pretrained` writes them, and its config.json."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        state = load_file(f"{folder}/model.safetensors")
        return shapes_of(state), json.loads((pathlib.Path(folder) / "config.json").read_text())


def transformers_case(name, kind, config, sizes, features, **how):
    """A case of Hugging Face transformers: the file is written by the rule, and read by the library.

    Args:
        features: (model, pixels) -> features.
    """
    shapes, written = on_disk(kind(config))
    with tempfile.TemporaryDirectory() as folder:
        save_file(by_rule(shapes), f"{folder}/model.safetensors", metadata={"format": "pt"})
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(written))
        model = kind.from_pretrained(folder, attn_implementation="eager").eval()
    found = {size: features(model, pixels(size)).numpy() for size in sizes}
    settings = {
        "file": "model.safetensors",
        "beside": {"config.json": written, **how.pop("beside", {})},
        "as_folder": True,
    }
    return case(name, shapes, found, **{**settings, **how})


def meta_positions(state, grid, size, patch, prefix=1, offset=0.1):
    """The places as DINO and DINOv2 interpolate them: by a scale factor, 0.1 too large."""
    table = state["pos_embed"]
    height, width = (side // patch for side in size)
    if (height, width) == grid:
        return table
    places = table[:, prefix:].reshape(1, *grid, -1).permute(0, 3, 1, 2)
    scale = [(new + offset) / old for new, old in zip((height, width), grid, strict=True)]
    places = torch.nn.functional.interpolate(places, scale_factor=scale, mode="bicubic")
    assert places.shape[-2:] == (height, width)
    return torch.cat([table[:, :prefix], places.permute(0, 2, 3, 1).flatten(1, 2)], 1)


def dinov2():
    sizes = [(56, 56), (42, 84)]
    small = {"img_size": 56, "embed_dim": 192, "num_heads": 3, "depth": 2, "dynamic_img_size": True}
    cases = []
    for name, architecture, more in [
        ("plain", "vit_small_patch14_dinov2", {}),
        ("registers", "vit_small_patch14_reg4_dinov2", {}),
        ("swiglu", "vit_giant_patch14_dinov2", {}),
    ]:
        model, shapes, found = timm_model(architecture, sizes, **small, **more)
        beside = timm_beside(architecture, model)
        cases.append(
            case(f"dinov2_timm_{name}", shapes, found, file="model.safetensors", beside=beside, as_folder=True)
        )
        meta = {"cls_token": (1, 1, 192), "mask_token": (1, 192), "pos_embed": (1, 17, 192)}
        if name == "registers":
            meta["register_tokens"] = (1, 4, 192)
        for key, shape in shapes.items():
            if key not in ("cls_token", "pos_embed", "reg_token"):
                key = key.replace("fc1", "w12").replace("fc2", "w3") if name == "swiglu" else key
                meta[key] = shape
        features = {}
        for size in sizes:
            state = by_rule(meta)
            if name != "registers":
                state["pos_embed"] = meta_positions(state, (4, 4), size, 14)
                fitted = timm.create_model(architecture, **{**small, "img_size": size}).eval()
            else:
                fitted = timm.create_model(architecture, **small).eval()
            fitted.load_state_dict(timm.models.vision_transformer._convert_dinov2(state, fitted))
            features[size] = timm_features(fitted, size)
        cases.append(case(f"dinov2_meta_{name}", meta, features, file="dinov2_pretrain.pth"))
    options = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "image_size": 56, "patch_size": 14}

    def pooled(model, inputs):
        return model(inputs).pooler_output

    for name, kind, config, more in [
        ("plain", transformers.Dinov2Model, transformers.Dinov2Config, {}),
        ("swiglu", transformers.Dinov2Model, transformers.Dinov2Config, {"use_swiglu_ffn": True}),
        ("registers", transformers.Dinov2WithRegistersModel, transformers.Dinov2WithRegistersConfig, {}),
    ]:
        cases.append(transformers_case(f"dinov2_transformers_{name}", kind, config(**options, **more), sizes, pooled))
    return cases


FAMILIES = {"dinov2": dinov2}

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for family in sys.argv[1:] or FAMILIES:
        text = json.dumps({"versions": VERSIONS, "cases": FAMILIES[family]()}, separators=(",", ":"))
        (FOLDER / f"{family}.json").write_text(text + "\n")
