"""Importers reproduce the numbers of the original code, from files as the original projects write them."""

import pytest

from tests.pretrained.files import (
    write_hub_module,
    write_legacy_torch,
    write_tf1,
    write_tf2_checkpoint,
    write_tf2_saved_model,
)
from tests.published import CASES, assert_published, images, weight
from tfcontrastive.pretrained import load
from tfcontrastive.pretrained.torch_file import write_torch

TF1 = [name for name in CASES if name.startswith("tf1")]
TF2 = [name for name in CASES if name.startswith("tf2")]
MOCO = [name for name in CASES if name.startswith("moco") and "variables" in CASES[name]]
VIT = [name for name in CASES if "vit" in name]


def by_rule(case):
    return {name: weight(name, shape) for name, shape in case["variables"]}


def assert_same_networks(pretrained, case, outputs):
    features = pretrained.encoder(images(case))
    assert_published(features, outputs["final_avg_pool"])
    if "proj_head_output" in outputs:
        assert_published(pretrained.projection_head(features), outputs["proj_head_output"])
        assert_published(pretrained.supervised_head(features), outputs["logits_sup"])
    else:
        assert_published(pretrained.projection_head(features), outputs["head_output_before_normalisation"])
        assert pretrained.supervised_head is None
    assert len(pretrained.report.mapping) >= len(case["variables"])


@pytest.mark.parametrize("name", TF1)
def test_simclr_tf1(name, tmp_path):
    case = CASES[name]
    values = by_rule(case)
    beside = {f"{variable}/Momentum": weight("slot", [3]) for variable in ("base_model/conv2d/kernel", "ema_model/a")}
    pretrained = load(write_tf1(tmp_path / "run", {**values, **beside, "global_step": 7}))
    assert_same_networks(pretrained, case, case["outputs"])
    assert (pretrained.config.resnet_depth, pretrained.config.sk_ratio) == (case["resnet_depth"], case["sk_ratio"])
    assert pretrained.config.stem == ("small" if case["small_image_stem"] else "large")
    assert set(pretrained.report.skipped) == {*beside, "global_step"}


def test_simclr_hub_module_of_tf1(tmp_path):
    case = CASES["tf1_r18_1x_sk0_small_images"]
    pretrained = load(write_hub_module(tmp_path / "hub", by_rule(case)))
    assert_same_networks(pretrained, case, case["outputs"])
    assert pretrained.report.skipped == {}


@pytest.mark.parametrize("name", TF2)
def test_simclr_tf2(name, tmp_path):
    case = CASES[name]
    checkpoint = load(write_tf2_checkpoint(tmp_path / "run", case))
    assert_same_networks(checkpoint, case, case["outputs_when_named_by_checkpoint_key"])
    assert set(checkpoint.report.skipped) == {"global_step", "save_counter"}
    write_tf2_saved_model(tmp_path / "published" / "saved_model", case)
    saved_model = load(tmp_path / "published")
    assert_same_networks(saved_model, case, case["outputs_when_named_by_variable_name"])


@pytest.mark.parametrize("name", MOCO)
def test_moco(name, tmp_path):
    case = CASES[name]
    values = by_rule(case)
    if "v2" in name:  # published before torch 1.6
        beside = {"module.queue": weight("queue", [128, 64]), "module.encoder_k.fc.0.bias": weight("k", [8])}
        path = write_legacy_torch(tmp_path / "moco.pth.tar", {**values, **beside}, epoch=800, arch="resnet50")
    else:
        beside = {
            "module.predictor.0.weight": weight("p", [4, 4]),
            "module.momentum_encoder.conv1.weight": weight("m", [4]),
        }
        path = tmp_path / "moco.pth.tar"
        write_torch(path, {**values, **beside})
    pretrained = load(path)
    assert_same_networks(pretrained, case, case["outputs"])
    assert set(pretrained.report.skipped) == set(beside)


OTHERS = {
    "torchvision_r18": ("torchvision", "large", "supervised_head"),
    "solo_learn_r18_cifar": ("solo-learn", "padded", "projection_head"),
    "lightly_r18": ("lightly", "large", "projection_head"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_torchvision_and_those_who_build_on_it(name, tmp_path):
    """Depth 18: no projection in the first group. A bias before batch norm is taken into its mean."""
    case, (family, stem, head) = CASES[name], OTHERS[name]
    write_torch(tmp_path / "weights.pth", by_rule(case))
    pretrained = load(tmp_path / "weights.pth")
    features = pretrained.encoder(images(case))
    assert_published(features, case["outputs"]["final_avg_pool"])
    assert_published(getattr(pretrained, head)(features), case["outputs"]["head"])
    assert (pretrained.report.family, pretrained.config.stem) == (family, stem)
    assert pretrained.report.skipped == {}
    assert (pretrained.supervised_head is None) == (name == "lightly_r18")


@pytest.mark.parametrize("name", VIT)
def test_moco_v3_vit(name, tmp_path):
    case = CASES[name]
    width = case["outputs"]["class_token"]["shape"][1]
    shapes = {
        "cls_token": (1, 1, width),
        "patch_embed.proj.weight": (width, 3, 16, 16),
        "patch_embed.proj.bias": (width,),
    }
    for block in [f"blocks.{index}." for index in range(12)]:
        for part, (out, inputs) in {
            "attn.qkv": (3, 1),
            "attn.proj": (1, 1),
            "mlp.fc1": (4, 1),
            "mlp.fc2": (1, 4),
        }.items():
            shapes |= {f"{block}{part}.weight": (out * width, inputs * width), f"{block}{part}.bias": (out * width,)}
        for norm in ("norm1", "norm2"):
            shapes |= {f"{block}{norm}.weight": (width,), f"{block}{norm}.bias": (width,)}
    shapes |= {"norm.weight": (width,), "norm.bias": (width,)}
    values = {
        f"module.base_encoder.{name}": weight(f"module.base_encoder.{name}", shape) for name, shape in shapes.items()
    }
    write_torch(tmp_path / "vit.pth.tar", values)
    pretrained = load(tmp_path / "vit.pth.tar", image_size=case["image_size"])
    assert_published(pretrained.encoder(images(case)), case["outputs"]["class_token"])
    assert pretrained.config.encoder == case["encoder"]
