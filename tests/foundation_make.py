"""Writes fixtures/foundation: features of the original libraries, with weights by the rule of `tests.foundation`.

Needs torch, timm, transformers and open_clip_torch, in an environment of their own; `python -m tests.foundation_make`.
"""

from __future__ import annotations

import json
import pathlib
import sys
import tempfile

import numpy as np
import open_clip
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from tests.foundation import FOLDER, images, stored, weight

torch.set_grad_enabled(False)
VERSIONS = {
    "timm": timm.__version__,
    "open_clip": open_clip.__version__,
    "transformers": transformers.__version__,
    "torch": torch.__version__,
}


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
    options = how.pop("options", {})
    shapes, written = on_disk(kind(config, **options))
    with tempfile.TemporaryDirectory() as folder:
        save_file(by_rule(shapes), f"{folder}/model.safetensors", metadata={"format": "pt"})
        (pathlib.Path(folder) / "config.json").write_text(json.dumps(written))
        model = kind.from_pretrained(folder, attn_implementation="eager", **options).eval()
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


TIMM = {"embed_dim": 192, "num_heads": 3, "depth": 2, "dynamic_img_size": True}


def timm_case(name, architecture, sizes, *, features=None, **options):
    """A case of timm's own files, a folder with its config.json."""
    model = timm.create_model(architecture, **{**TIMM, **options}).eval()
    shapes = shapes_of(model.state_dict())
    zeros = ("head.bias",) if features is not None else ()
    model.load_state_dict(by_rule(shapes, zeros))
    found = {size: (features or timm_features)(model, size) for size in sizes}
    beside = timm_beside(architecture, model)
    made = case(name, shapes, found, file="model.safetensors", beside=beside, as_folder=True, zeros=zeros)
    return made, model, shapes


def token(model, inputs):
    return model(inputs, interpolate_pos_encoding=True).last_hidden_state[:, 0]


VIT = {"hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 128, "image_size": 64}
SIZES = [(64, 64), (48, 96)]


def dino():
    timm_made, _, shapes = timm_case("dino_timm", "vit_small_patch16_224.dino", SIZES, img_size=64, num_classes=0)
    features = {}
    for size in SIZES:
        state = by_rule(shapes)
        state["pos_embed"] = meta_positions(state, (4, 4), size, 16)
        fitted = timm.create_model("vit_small_patch16_224", **{**TIMM, "img_size": size, "num_classes": 0}).eval()
        fitted.load_state_dict(state)
        features[size] = timm_features(fitted, size)

    config = transformers.ViTConfig(**VIT)
    return [
        timm_made,
        case("dino_meta", shapes, features, file="dino_deitsmall16_pretrain.pth"),
        transformers_case(
            "dino_transformers", transformers.ViTModel, config, SIZES, token, options={"add_pooling_layer": False}
        ),
    ]


def vit():
    told = {"preprocessor_config.json": {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}}
    augreg, _, _ = timm_case("vit_timm", "vit_small_patch16_224.augreg_in21k", SIZES, img_size=64, num_classes=5)
    deit, _, _ = timm_case("vit_timm_deit", "deit_small_patch16_224.fb_in1k", SIZES, img_size=64, num_classes=5)
    config = transformers.ViTConfig(**VIT)

    def of_classifier(model, inputs):
        return token(model.vit, inputs)

    kind = transformers.ViTForImageClassification
    return [
        augreg,
        deit,
        transformers_case("vit_transformers", transformers.ViTModel, config, SIZES, token, beside=told),
        transformers_case("vit_transformers_classifier", kind, config, SIZES, of_classifier, beside=told),
    ]


def mae():
    timm_made, _, shapes = timm_case("mae_timm", "vit_base_patch16_224.mae", SIZES, img_size=64, num_classes=0)
    beside = {"mask_token": (1, 1, 32), "decoder_pos_embed": (1, 17, 32), "decoder_embed.weight": (32, 192)}
    model = timm.create_model("vit_base_patch16_224", **{**TIMM, "img_size": 64, "num_classes": 0}).eval()
    model.load_state_dict(by_rule(shapes))
    features = {size: timm_features(model, size) for size in SIZES}
    small = {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2}
    config = transformers.ViTMAEConfig(**VIT, **small, mask_ratio=0.0)

    def unmasked(model, inputs):
        noise = torch.arange(inputs.shape[-1] * inputs.shape[-2] // 256).float().expand(len(inputs), -1)
        return model.vit(inputs, noise=noise, interpolate_pos_encoding=True).last_hidden_state[:, 0]

    return [
        timm_made,
        case("mae_meta", {**shapes, **beside}, features, file="mae_pretrain_vit_base.pth"),
        transformers_case("mae_transformers", transformers.ViTMAEForPreTraining, config, SIZES, unmasked),
    ]


def clip():
    sizes = [(64, 64), (96, 96)]
    cases = []

    def projected(model, size):
        return model(pixels(size)).numpy()

    small = {"img_size": 64, "num_classes": 24}
    for name, architecture in [
        ("openai", "vit_base_patch16_clip_quickgelu_224.openai"),
        ("laion", "vit_base_patch16_clip_224.laion2b"),
    ]:
        cases.append(timm_case(f"clip_timm_{name}", architecture, sizes, features=projected, **small)[0])
    tower = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1}
    for name, quick in [("openai", True), ("laion", False)]:
        if name == "openai":  # without settings beside it: heads are known by the width
            tower = {**tower, "width": 192, "head_width": 64}
        features = {}
        for size in sizes:
            fitted = {**tower, "image_size": size[0]}
            model = open_clip.CLIP(
                24, open_clip.CLIPVisionCfg(**fitted), open_clip.CLIPTextCfg(**text), quick_gelu=quick
            )
            state = {key: value for key, value in model.state_dict().items() if key != "attn_mask"}
            trained = {**shapes_of(state), "visual.positional_embedding": (17, tower["width"])}
            held = by_rule(trained)
            open_clip.model.resize_pos_embed(held, model)
            model.load_state_dict(held, strict=False)
            features[size] = model.eval().encode_image(pixels(size)).numpy()
        model_cfg = {"embed_dim": 24, "vision_cfg": tower, "text_cfg": text, "quick_gelu": quick}
        if name == "openai":
            trained |= {"input_resolution": (), "context_length": (), "vocab_size": ()}
            cases.append(case("clip_openai", trained, features, file="ViT-B-16.pt"))
        else:
            beside = {"open_clip_config.json": {"model_cfg": model_cfg, "preprocess_cfg": {}}}
            how = {"file": "open_clip_model.safetensors", "beside": beside, "as_folder": True}
            cases.append(case("clip_open_clip", trained, features, **how))
        tower = {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16}
    texts = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
        "intermediate_size": 16,
    }
    both = transformers.CLIPConfig(text_config=texts, vision_config={**VIT, "patch_size": 16}, projection_dim=24)
    alone = transformers.CLIPVisionConfig(**VIT, patch_size=16, projection_dim=24, hidden_act="gelu")

    def image_features(model, inputs):
        pooled = model.vision_model(inputs, interpolate_pos_encoding=True).pooler_output
        return model.visual_projection(pooled)

    def pooled(model, inputs):
        return model(inputs, interpolate_pos_encoding=True).pooler_output

    sizes = SIZES
    cases += [
        transformers_case("clip_transformers", transformers.CLIPModel, both, sizes, image_features),
        transformers_case("clip_transformers_tower", transformers.CLIPVisionModel, alone, sizes, pooled),
    ]
    return cases


def siglip():
    sizes = SIZES
    cases = []
    small = {"img_size": 64, "num_classes": 0}
    for name, architecture in [
        ("exact", "vit_base_patch16_siglip_224.webli"),
        ("tanh", "vit_so400m_patch16_siglip_256.v2_webli"),
        ("mean", "vit_base_patch16_siglip_gap_224.webli"),
    ]:
        cases.append(timm_case(f"siglip_timm_{name}", architecture, sizes, mlp_ratio=4.0, **small)[0])
    exact = cases[0]
    variables = {f"visual.trunk.{key}": tuple(shape) for key, shape in ((v[0], v[1]) for v in exact["variables"])}
    model = timm.create_model("vit_base_patch16_siglip_224", **{**TIMM, **small}).eval()
    model.load_state_dict({key.removeprefix("visual.trunk."): value for key, value in by_rule(variables).items()})
    features = {size: timm_features(model, size) for size in sizes}
    tower = {
        "image_size": 64,
        "timm_model_name": "vit_base_patch16_siglip_224",
        "timm_pool": "map",
        "timm_proj": "none",
    }
    beside = {"open_clip_config.json": {"model_cfg": {"embed_dim": 192, "vision_cfg": tower}}}
    variables |= {"logit_scale": (), "logit_bias": (), "text.token_embedding.weight": (50, 16)}
    how = {"file": "open_clip_model.safetensors", "beside": beside, "as_folder": True}
    cases.append(case("siglip_open_clip", variables, features, **how))
    texts = {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "vocab_size": 50,
        "intermediate_size": 16,
    }
    both = transformers.SiglipConfig(text_config=texts, vision_config={**VIT, "patch_size": 16})
    alone = transformers.SiglipVisionConfig(**VIT, patch_size=16)

    def of_both(model, inputs):
        return model.vision_model(inputs, interpolate_pos_encoding=True).pooler_output

    def of_tower(model, inputs):
        return model(inputs, interpolate_pos_encoding=True).pooler_output

    cases += [
        transformers_case("siglip_transformers", transformers.SiglipModel, both, sizes, of_both),
        transformers_case("siglip_transformers_tower", transformers.SiglipVisionModel, alone, sizes, of_tower),
    ]
    return cases


def dinov3():
    cases, small = [], {"num_classes": 0, "global_pool": "token", "img_size": 64}
    for name, architecture, meta in [
        ("plain", "vit_small_patch16_dinov3.lvd1689m", False),
        ("biases", "vit_small_patch16_dinov3_qkvb.lvd1689m", True),
        ("gated", "vit_small_plus_patch16_dinov3_qkvb.lvd1689m", True),
    ]:
        made, model, shapes = timm_case(f"dinov3_timm_{name}", architecture, SIZES, **small)
        cases.append(made)
        if not meta:
            continue
        variables = {"mask_token": (1, 192), "rope_embed.periods": (16,)}
        for key, shape in shapes.items():
            if key.endswith("v_bias"):
                continue
            for old, new in {
                "reg_token": "storage_tokens",
                "gamma_1": "ls1.gamma",
                "gamma_2": "ls2.gamma",
                "fc1_g": "w1",
                "fc1_x": "w2",
                "q_bias": "qkv.bias",
                "mlp.fc2": "mlp.w3" if name == "gated" else "mlp.fc2",
            }.items():
                key = key.replace(old, new)
            variables[key] = (576,) if key.endswith("qkv.bias") else shape
            if key.endswith("qkv.bias"):
                variables[f"{key}_mask"] = (576,)
        state = timm.models.eva.checkpoint_filter_fn(by_rule(variables), model)
        model.load_state_dict(state)
        features = {size: timm_features(model, size) for size in SIZES}
        cases.append(case(f"dinov3_meta_{name}", variables, features, file="dinov3_vits16_pretrain.pth"))
    for name, more in [("plain", {}), ("gated", {"use_gated_mlp": True, "hidden_act": "silu"})]:
        config = transformers.DINOv3ViTConfig(**VIT, patch_size=16, num_register_tokens=4, **more)
        kind = transformers.DINOv3ViTModel
        cases.append(
            transformers_case(f"dinov3_transformers_{name}", kind, config, SIZES, lambda m, x: m(x).pooler_output)
        )
    return cases


FAMILIES = {"dinov2": dinov2, "dino": dino, "vit": vit, "mae": mae, "clip": clip, "siglip": siglip, "dinov3": dinov3}


def write(family, made):
    """A family's fixture."""
    FOLDER.mkdir(exist_ok=True)
    text = json.dumps({"versions": VERSIONS, **made}, separators=(",", ":"))
    (FOLDER / f"{family}.json").write_text(text + "\n")


if __name__ == "__main__":
    for family in sys.argv[1:] or FAMILIES:
        print(family)
        write(family, {"cases": FAMILIES[family]()})
