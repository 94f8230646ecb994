"""What is told of a foundation encoder's file, and files that are not right: one sentence that names what is wrong."""

import json

import numpy as np
import pytest

from tests.foundation import CASES, assert_features, images, values
from tests.pretrained.files import truncate, write_legacy_torch
from tests.pretrained.foundation_files import write
from tfcontrastive.config import InputError
from tfcontrastive.data import Preprocessing
from tfcontrastive.pretrained import load, recognise
from tfcontrastive.pretrained.safetensors_file import write_safetensors
from tfcontrastive.pretrained.torch_file import write_torch

TINY = "dinov2_transformers_plain"


def changed(case, **settings):
    """The case with other settings in its config.json."""
    return {**case, "beside": {"config.json": {**case["beside"]["config.json"], **settings}}}


def assert_same(path, name):
    case = CASES[name]
    size, expected = case["features"][0]
    assert_features(load(path).encoder(images(size)), expected)


def test_several_files_and_their_index(tmp_path):
    case, held = CASES[TINY], values(CASES[TINY])
    write(case, tmp_path, held)
    (tmp_path / "model.safetensors").unlink()
    names = list(held)
    places = {}
    for number, part in enumerate((names[:9], names[9:])):
        file = f"model-0000{number + 1}-of-00002.safetensors"
        write_safetensors(str(tmp_path / file), {name: held[name] for name in part})
        places |= dict.fromkeys(part, file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert_same(tmp_path, TINY)
    assert_same(index, TINY)
    index.write_text(json.dumps({"weight_map": {**places, "more": "../elsewhere.safetensors"}}))
    with pytest.raises(InputError, match=r"names \.\./elsewhere\.safetensors, which does not lie beside it"):
        load(tmp_path)


def test_several_files_of_a_keras_hub_preset_and_their_index(tmp_path):
    """Every second variable lies in the second file, so that each layer is in both."""
    case, held = CASES["dinov2_keras_hub"], values(CASES["dinov2_keras_hub"])
    write({**case, "file": "model_00000.weights.h5"}, tmp_path, dict(list(held.items())[::2]))
    write({**case, "file": "model_00001.weights.h5"}, tmp_path, dict(list(held.items())[1::2]))
    index = tmp_path / "model.weights.json"
    places = {f"/{name.rpartition('/')[0]}": ["model_00000.weights.h5", "model_00001.weights.h5"] for name in held}
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))
    assert_same(tmp_path, "dinov2_keras_hub")
    for told, message in {
        json.dumps(
            {"weight_map": {"/a/vars": "../b.weights.h5"}}
        ): r"names \.\./b\.weights\.h5, which does not lie beside",
        "[]": "is no index of files of weights",
    }.items():
        index.write_text(told)
        with pytest.raises(InputError, match=message):
            load(tmp_path)
    index.unlink()
    with pytest.raises(InputError, match=r"has no model\.weights\.h5 and no model\.weights\.json"):
        load(tmp_path)


def test_bin_files_of_both_forms(tmp_path):
    case, held = CASES[TINY], values(CASES[TINY])
    write({**case, "file": "pytorch_model.bin"}, tmp_path, held)
    assert_same(tmp_path, TINY)
    (tmp_path / "pytorch_model.bin").unlink()
    assert_same(write_legacy_torch(tmp_path / "pytorch_model.bin", held), TINY)


@pytest.mark.parametrize("name", [TINY, "vit_transformers", "dinov3_convnext_transformers"])
def test_names_that_transformers_has_in_memory(name, tmp_path):
    """Version 5 writes the old names with save_pretrained, not with torch.save(model.state_dict())."""
    renamed = {
        "attention.attention.query": "attention.q_proj",
        "attention.attention.key": "attention.k_proj",
        "attention.attention.value": "attention.v_proj",
        "attention.output.dense": "attention.o_proj",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        **({"encoder.layer.": "layers."} if name.startswith("vit") else {}),
        "stages.": "model.stages.",
    }
    held = {}
    for key, value in values(CASES[name]).items():
        for old, new in renamed.items():
            key = key.replace(old, new)
        held[key] = value
    assert_same(write(CASES[name], tmp_path, held), name)


def test_a_whole_training_checkpoint_of_dino_gives_its_teacher(tmp_path):
    held = values(CASES["dino_meta"])
    beside = {
        "teacher/head.mlp.0.weight": np.zeros([4, 4], "f"),
        "student/module.backbone.cls_token": np.zeros([4], "f"),
    }
    write_torch(tmp_path / "dino.pth", {**{f"teacher/backbone.{name}": x for name, x in held.items()}, **beside})
    assert_same(tmp_path / "dino.pth", "dino_meta")
    assert set(load(tmp_path / "dino.pth").report.skipped) == set(beside)


@pytest.mark.parametrize(
    ("name", "family", "rule", "licence"),
    [
        ("dinov2_timm_registers", "DINOv2", "imagenet_bicubic", "Apache-2.0"),
        ("dino_meta", "DINO", "imagenet_bicubic", "Apache-2.0"),
        ("mae_meta", "MAE", "imagenet_bicubic", "not for commercial use"),
        ("mae_timm", "MAE", "imagenet_bicubic", "not for commercial use"),
        ("vit_timm", "ViT", "vit", "Apache-2.0"),
        ("vit_timm_deit", "ViT", "imagenet", "Apache-2.0"),
        ("clip_openai", "CLIP of OpenAI", "clip", "MIT"),
        ("siglip_timm_mean", "SigLIP", "siglip", "Apache-2.0"),
        ("dinov3_meta_biases", "DINOv3", "imagenet_whole", "DINOv3 License"),
    ],
)
def test_family_preprocessing_and_licence_are_told(name, family, rule, licence, tmp_path):
    found = recognise(write(CASES[name], tmp_path))
    assert found.family.startswith(f"{family}, in the layout of ")
    assert found.config.preprocessing == rule
    assert licence in found.facts["licence"]
    assert str(Preprocessing.named(rule)) in found.facts["preprocessing"]


def test_a_classifier_comes_along(tmp_path):
    found = load(write(CASES["vit_transformers_classifier"], tmp_path))
    assert found.supervised_head(found.encoder(images((64, 64)))).shape == (2, 2)


def without(name):
    return lambda held: {key: value for key, value in held.items() if key != name}


def with_shape(name, shape):
    return lambda held: {**held, name: np.zeros(shape, np.float32)}


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (TINY, without("encoder.layer.1.norm2.bias"), "encoder/block2_norm2/beta finds no encoder.layer.1.norm2.bias"),
        (TINY, with_shape("extra.weight", [3]), "holds 1 variables that have no place: extra.weight"),
        (TINY, with_shape("embeddings.position_embeddings", [1, 12, 32]), "is of no square grid"),
        (
            TINY,
            with_shape("embeddings.patch_embeddings.projection.weight", [32, 1, 14, 14]),
            "a DINOv2 of 1 channels and patches of 14 x 14 is not known",
        ),
        (TINY, with_shape("encoder.layer.0.attention.attention.key.weight", [16, 32]), "has the shape"),
        (
            "dinov2_meta_plain",
            with_shape("patch_embed.proj.weight", [100, 3, 14, 14]),
            "a DINOv2 100 wide is none of its",
        ),
    ],
)
def test_a_file_that_does_not_fit_is_told_by_name(name, change, message, tmp_path):
    path = write(CASES[name], tmp_path, change(values(CASES[name])))
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["visual.layer1.0.conv1.weight", "visual.attnpool.positional_embedding"], "CLIP's ResNets are not read"),
        (
            ["stem.0.weight", "stages.0.blocks.0.conv_dw.weight"],
            r"ConvNeXt with \(1, 0, 0, 0\) blocks is none of the pub",
        ),
        (
            ["stem.0.weight", "stages.0.blocks.0.conv_dw.weight", "head.fc.weight"],
            "that is not DINOv3's or EUPE's is not",
        ),
    ],
)
def test_members_of_a_family_that_are_not_read_are_named(names, message, tmp_path):
    write_torch(tmp_path / "model.pth", {name: np.zeros([2, 2], np.float32) for name in names})
    with pytest.raises(InputError, match=message):
        load(tmp_path / "model.pth")


def test_settings_that_variables_do_not_tell_are_asked_for(tmp_path):
    case = CASES["clip_open_clip"]
    with pytest.raises(InputError, match=r"GELU from OpenAI's QuickGELU: .* must lie beside it"):
        load(write({**case, "beside": {}}, tmp_path))


def test_settings_of_no_member_are_refused(tmp_path):
    with pytest.raises(InputError, match="whose rope_theta is 10 is none of its published"):
        load(write(changed(CASES["dinov3_transformers_plain"], rope_theta=10.0), tmp_path))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.1] * 3, "image_std": [0.2] * 3}))
    with pytest.raises(InputError, match=r"mean \(0\.1, 0\.1, 0\.1\) and std .* is of no known family"):
        load(write(CASES[TINY], tmp_path))
    (tmp_path / "preprocessor_config.json").unlink()
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json beside it is no JSON"):
        load(tmp_path / "model.safetensors")


def test_a_file_cut_short(tmp_path):
    path = write(CASES[TINY], tmp_path)
    truncate(path / "model.safetensors", 0.7)
    with pytest.raises(InputError, match="cut short") as caught:
        load(path)
    assert "\n" not in str(caught.value)
