"""`tfcontrastive train` from its command line: other projects' commands, folders, dry runs, evaluation alone."""

import contextlib
import dataclasses
import json
import math

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import flags
from PIL import Image

from tests.commands.runs import ONE_BLOCK, RESNET, argv, write_images
from tfcontrastive import flags as command_line
from tfcontrastive.commands.main import main
from tfcontrastive.config import EncoderConfig
from tfcontrastive.runs.builders import build_encoder

SMALL = ["--width_multiplier=0.0625", "--train_steps=2", "--train_batch_size=8", "--proj_out_dim=8", "--knn_k=5"]


def test_the_cifar10_command_of_simclr_trains(tmp_path):
    text = """--train_mode=pretrain --train_batch_size=512 --train_epochs=1000 --learning_rate=1.0 --weight_decay=1e-4
        --temperature=0.5 --dataset=cifar10 --image_size=32 --eval_split=test --resnet_depth=18 --use_blur=False
        --color_jitter_strength=0.5 --use_tpu=False"""
    with tfds.testing.mock_data(num_examples=40):
        assert main(["train", *text.split(), f"--model_dir={tmp_path / 'run'}", *SMALL]) == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["step"] == 2
    assert {"knn_top1", "probe_eval_accuracy", "effective_rank"} <= set(result)
    assert (tmp_path / "run" / "saved_model" / "1" / "saved_model.pb").exists()


def test_a_folder_without_labels_trains_and_lists_bad_files(tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(120):
        pixels = rng.integers(0, 256, (5, 7, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        Image.fromarray(pixels).save(folder / f"{i:03d}.jpg")
    (folder / "broken.jpg").write_bytes((folder / "000.jpg").read_bytes()[:100])
    assert main(argv(f"folder:{folder}", tmp_path / "run", train_steps=2)) == 0
    assert "broken.jpg" in (tmp_path / "run" / "bad_files.txt").read_text()
    assert "no labels" in capsys.readouterr().err
    assert "knn_top1" not in json.loads((tmp_path / "run" / "result.json").read_text())


@pytest.mark.parametrize("method", ["simclr", "moco", "byol"])
def test_a_dry_run_tells_the_run_and_writes_nothing(method, tmp_path, capsys):
    dataset = write_images(tmp_path / "images.npz")
    extra = {"queue_size": 32} if method == "moco" else {}
    assert main([*argv(dataset, tmp_path / "run", method=method, **extra), "--dry_run"]) == 0
    text = capsys.readouterr().out
    for part in (f"[{method}]", "train_batch_size=16", "64 training images", "parameters", "learning rate", "memory"):
        assert part in text
    assert not (tmp_path / "run").exists()


def small_network(recipe):
    """In place of a recipe's own network, which takes long to build: those are counted below, each once."""
    scales = RESNET if "amdim" in recipe else ONE_BLOCK  # AMDIM compares maps of two sizes
    return [f"--{name}={value}" for name, value in scales.items()]


@pytest.mark.parametrize("name", command_line.recipe_names("pretrain"))
def test_every_recipe_makes_a_run(name, tmp_path, capsys):
    argv = ["train", f"--recipe={name}", f"--model_dir={tmp_path / 'run'}", "--dry_run", *small_network(name)]
    embedded = "--dataset=embedded" in command_line.expand([f"--recipe={name}"])
    with contextlib.nullcontext() if embedded else tfds.testing.mock_data(num_examples=10_000):
        assert main(argv) == 0
    text = capsys.readouterr().out
    values = dict(line.strip().split("=", 1) for line in text.splitlines() if "=" in line)
    assert "trainable in all" in text
    # What a run would refuse in its first step only.
    assert int(values.get("queue_size", 0)) % int(values["train_batch_size"]) == 0
    assert int(values.get("memory_size", 0)) % (2 * int(values["train_batch_size"])) == 0


# Millions, of the encoder: SimCLRv2's table 1 for ResNets, He et al. and MoCo v3 for the rest.
PUBLISHED = {
    "simclr_imagenet_r50": 24, "simclr_imagenet_r50_2x": 94, "simclr_imagenet_r50_4x": 375,
    "simclr_v2_imagenet_r50_sk": 35, "simclr_v2_imagenet_r101_sk": 65, "simclr_v2_imagenet_r152_3x_sk": 795,
    "simclr_cifar10_r18": 11, "moco_v3_imagenet_vit_small": 22, "moco_v3_imagenet_vit_base": 86,
    "dino_imagenet_vit_small": 22,
}  # fmt: skip


def encoder_of(recipe: str) -> EncoderConfig:
    values = flags.FlagValues()
    command_line.define(EncoderConfig(), values)
    known = [word for word in command_line.expand([f"--recipe={recipe}"]) if word[2:].split("=")[0] in values]
    command_line.parse(known, values)
    # First values of the weights, which no shape depends on.
    return dataclasses.replace(command_line.from_flags(EncoderConfig(), values), zero_init_residual=None)


def test_every_network_of_a_published_recipe_is_counted():
    published = [name for name in command_line.recipe_names("pretrain") if not name.startswith(("embedded", "record"))]
    assert {encoder_of(name) for name in published} == {encoder_of(name) for name in PUBLISHED} | {
        # As large as ResNet-50: those of MoCo v1 and v2, and of CPC. CMC's tower, and instance discrimination's smaller one.
        dataclasses.replace(EncoderConfig(), global_bn=False),
        dataclasses.replace(EncoderConfig(), global_bn=False, width_multiplier=2.0),
        dataclasses.replace(EncoderConfig(), global_bn=False, resnet_depth=18),
        dataclasses.replace(EncoderConfig(), norm="group"),
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_networks_of_recipes_have_the_published_size(name, monkeypatch):
    zeros = keras.initializers.Zeros().__call__  # nobody looks at the weights: only their shapes count
    monkeypatch.setattr(
        keras.initializers.VarianceScaling, "__call__", lambda _, shape, dtype=None: zeros(shape, dtype)
    )
    with keras.StatelessScope():  # which keeps no weights
        encoder = build_encoder(encoder_of(name), image_size=32 if "cifar10" in name else 224, channels=3)
        millions = sum(math.prod(variable.shape) for variable in encoder.weights) / 1e6
    moving = sum(math.prod(weight.shape) for weight in encoder.weights if "moving" in weight.path) / 1e6
    assert round(millions - moving) == PUBLISHED[name]


def test_eval_alone_measures_the_newest_checkpoint(tmp_path):
    dataset = write_images(tmp_path / "images.npz")
    arguments = argv(dataset, tmp_path / "run", train_steps=2, eval_split="train", knn_k=5)
    assert main(arguments) == 0
    trained = json.loads((tmp_path / "run" / "result.json").read_text())
    (tmp_path / "run" / "result.json").unlink()
    assert main([*arguments, "--mode=eval"]) == 0
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == pytest.approx(trained)
