"""The encoder and head give the numbers of the original networks when they hold the same weights.

The weights are made by a rule from each variable's original name, so that no published file is needed. Networks of
google-research/simclr count their layers in order of creation; those of torchvision are named by their place.
"""

import json
import pathlib
import zlib

import numpy as np
import pytest

from tfcontrastive.encoders import ProjectionHead, ResNet, encoder_from_name

CASES = json.loads((pathlib.Path(__file__).parent / "fixtures" / "published_numbers.json").read_text())["cases"]
SIMCLR = [case for case in CASES if case["case"].startswith("tf1")]
MOCO = [case for case in CASES if case["case"] in ("moco_v2_r50", "moco_v3_r50")]
VIT = [case for case in CASES if "vit" in case["case"]]


def weight(name, shape, torch=False):
    x = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape).astype(np.float32)
    last = name.replace("/", ".").split(".")[-1]
    if len(shape) >= 2:
        return x * np.sqrt(2 / np.prod(shape[1:] if torch else shape[:-1]))
    if last in ("gamma", "weight"):
        return 1 + 0.1 * x
    return 1 + 0.1 * np.abs(x) if last in ("moving_variance", "running_var") else 0.1 * x


def images(case):
    return np.random.default_rng(0).random((2, case["image_size"], case["image_size"], 3), dtype=np.float32)


def network(case, **kwargs):
    shape = (case["image_size"], case["image_size"], 3)
    stem = "small" if case.get("small_image_stem") else "large"
    depth = case.get("resnet_depth", 50)
    return ResNet(depth, sk_ratio=case.get("sk_ratio", 0.0), input_shape=shape, stem=stem, **kwargs)


def assert_published(output, expected):
    output = np.asarray(output)
    assert list(output.shape) == expected["shape"]
    tolerance = 1e-3 * np.abs(output).max()
    np.testing.assert_allclose(output[0, :8], expected["first_row_first_8"], rtol=1e-3, atol=tolerance)
    np.testing.assert_allclose(output[1, :8], expected["second_row_first_8"], rtol=1e-3, atol=tolerance)
    np.testing.assert_allclose(np.linalg.norm(output), expected["l2"], rtol=1e-3)


def fill_in_order(encoder):
    """Fills each layer under the name that it has by its place in the order of creation."""
    counts = {"conv2d": 0, "batch_normalization": 0}
    for name in encoder.layer_order:
        layer = encoder.get_layer(name)
        kind = "conv2d" if "conv" in name or ("_mix" in name and "norm" not in name) else "batch_normalization"
        suffix = f"_{counts[kind]}" if counts[kind] else ""
        counts[kind] += 1
        for variable in layer.weights:
            variable.assign(weight(f"base_model/{kind}{suffix}/{variable.name}", variable.shape))


def fill_head(head):
    for index, (dense, norm) in enumerate(zip(head.denses, head.norms, strict=True)):
        for kind, layer in {"dense": dense, "batch_normalization": norm}.items():
            for variable in layer.weights:
                name = f"head_contrastive/nl_{index}/{kind}/{variable.name}"
                variable.assign(weight(name, variable.shape))


@pytest.mark.parametrize("case", SIMCLR, ids=[case["case"] for case in SIMCLR])
def test_simclr(case):
    encoder = network(case)
    fill_in_order(encoder)
    features = encoder(images(case))
    assert_published(features, case["outputs"]["final_avg_pool"])
    head = ProjectionHead(num_layers=case["num_proj_layers"])
    head.build(features.shape)
    fill_head(head)
    assert_published(head(features), case["outputs"]["proj_head_output"])


def torchvision_name(layer):
    """block_group2_block1_norm3 -> layer2.0.bn3; the shortcut is `downsample`."""
    head, _, part = layer.rpartition("_")
    part = part.replace("norm", "bn")
    if head == "initial":
        return f"{part.rstrip('1')}1"
    shortcut = head.endswith("_shortcut")
    group, block = head.removesuffix("_shortcut").removeprefix("block_group").split("_block")
    return (
        f"layer{group}.{int(block) - 1}.{('downsample.0' if part == 'conv' else 'downsample.1') if shortcut else part}"
    )


@pytest.mark.parametrize("case", MOCO, ids=[case["case"] for case in MOCO])
def test_moco(case):
    names = {"kernel": "weight", "gamma": "weight", "beta": "bias"}
    names |= {"moving_mean": "running_mean", "moving_variance": "running_var"}
    encoder = network(case, pool_padding="symmetric")
    for layer in encoder.layer_order:
        for variable in encoder.get_layer(layer).weights:
            name = f"module.encoder_q.{torchvision_name(layer)}.{names[variable.name]}"
            shape = tuple(variable.shape)
            if len(shape) == 4:
                value = weight(name, (shape[3], shape[2], *shape[:2]), torch=True).transpose(2, 3, 1, 0)
            else:
                value = weight(name, shape)
            variable.assign(value)
    assert_published(encoder(images(case)), case["outputs"]["final_avg_pool"])


def timm_name(variable):
    """block1_attention/qkv/kernel -> blocks.0.attn.qkv.weight."""
    layer, *inner, last = variable.split("/")
    block, _, part = layer.rpartition("_") if layer.startswith("block") else ("", "", layer)
    places = {"tokens": (), "patch_embed": ("patch_embed", "proj"), "attention": ("attn",), "fc1": ("mlp", "fc1"),
              "fc2": ("mlp", "fc2")}  # fmt: skip
    ends = {"class_token": "cls_token", "kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"}
    head = ("blocks", str(int(block.removeprefix("block")) - 1)) if block else ()
    return ".".join((*head, *places.get(part, (part,)), *inner, ends[last]))


@pytest.mark.parametrize("case", VIT, ids=[case["case"] for case in VIT])
def test_vit(case):
    encoder = encoder_from_name(case["encoder"], (case["image_size"], case["image_size"], 3))
    assert encoder.count_params() == case["parameters"]
    for variable in encoder.variables:
        name, shape = timm_name(variable.path), tuple(variable.shape)
        if name == "cls_token":
            value = weight(f"module.base_encoder.{name}", (1, 1, *shape), torch=True)[0, 0]
        elif len(shape) == 4:
            value = weight(f"module.base_encoder.{name}", (shape[3], shape[2], *shape[:2]), torch=True).transpose(2, 3, 1, 0)
        else:
            value = weight(f"module.base_encoder.{name}", shape[::-1], torch=True).T
        variable.assign(value)
    assert_published(encoder(images(case)), case["outputs"]["class_token"])
