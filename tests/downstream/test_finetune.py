"""`tfcontrastive finetune` from its command line, and what it leaves behind."""

import dataclasses
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.commands.runs import write_images
from tfcontrastive import data
from tfcontrastive import flags as command_line
from tfcontrastive.commands.classifier import command_flags, with_encoder
from tfcontrastive.commands.main import main
from tfcontrastive.config import DataConfig, EncoderConfig, InputError, RunConfig
from tfcontrastive.downstream.distill import DistillConfig
from tfcontrastive.downstream.finetune import FinetuneConfig, Tuning, finetuning
from tfcontrastive.pretrained.trained import Trained, load_trained
from tfcontrastive.runs.load_run import load_run

IMAGES = np.random.RandomState(0).rand(5, 8, 8, 3).astype("float32")


def argv(command="finetune", **flags):
    chosen = {"image_size": 8, "train_batch_size": 8, "train_steps": 2, **flags}
    return [command, *(f"--{name}={value}" for name, value in chosen.items())]


@pytest.fixture(scope="module")
def finetuned(tmp_path_factory, dataset, pretrained):
    path = tmp_path_factory.mktemp("finetuned") / "run"
    flags = {"checkpoint": pretrained, "dataset": dataset, "output_dir": path, "label_fraction": 0.25, "ema_decay": 0.9}
    assert main(argv(**flags)) == 0
    return path


def test_it_reports_the_last_step_with_an_interval(finetuned):
    metrics = json.loads((finetuned / "result.json").read_text())
    assert metrics["step"] == 2
    assert metrics["eval_top1_low"] <= metrics["eval_top1"] <= metrics["eval_top1_high"]
    assert {"eval_top5", "eval_mean_per_class"} <= set(metrics)
    last = json.loads((finetuned / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["eval_top1"] == pytest.approx(metrics["eval_top1"])
    page = (finetuned / "report.html").read_text().replace("<wbr>", "")
    for part in ("Fine-tuning", "By class", "Confusion", "chance", "tfcontrastive finetune --"):
        assert part in page


def test_the_labels_used_are_balanced_and_told(finetuned, dataset):
    subset = json.loads((finetuned / "label_subset.json").read_text())
    labels = data.labels_of(data.load(dataset), "train")
    assert np.bincount(labels[subset["rows"]]).tolist() == [6, 6, 6, 6]


def test_the_run_its_export_and_its_averages_are_one_classifier(finetuned):
    trained = load_trained(checkpoint=str(finetuned))
    logits = trained.supervised_head(trained(IMAGES))
    exported = tf.saved_model.load(str(finetuned / "saved_model" / "1")).signatures["features"](
        images=tf.constant(IMAGES)
    )
    np.testing.assert_allclose(exported["logits_sup"], logits, atol=1e-5)


def test_evaluating_alone_repeats_the_result(finetuned, dataset, pretrained):
    trained = json.loads((finetuned / "result.json").read_text())
    (finetuned / "result.json").unlink()
    flags = {
        "checkpoint": pretrained,
        "dataset": dataset,
        "output_dir": finetuned,
        "label_fraction": 0.25,
        "ema_decay": 0.9,
    }
    assert main(argv(**flags, mode="eval")) == 0
    assert json.loads((finetuned / "result.json").read_text()) == pytest.approx(trained)


@pytest.mark.parametrize("selector", [0, 1, 3, -1, None])
def test_it_starts_from_any_layer_of_the_projection_head(selector, dataset, pretrained):
    config = FinetuneConfig(
        checkpoint=pretrained,
        encoder=None,
        ft_proj_selector=selector,
        data=DataConfig(dataset=dataset, image_size=8),
        loop=RunConfig(model_dir="never written", train_batch_size=8, train_steps=1),
    )
    job = finetuning(config).prepare()
    run = load_run(pretrained)
    hiddens = run.model.projection_head.hiddens(run.model.encoder(IMAGES))
    expected = hiddens[1 if selector is None else selector]  # the run was pre-trained with ft_proj_selector=1
    np.testing.assert_allclose(job.model.trunk(IMAGES), expected, atol=1e-6)


def test_the_command_of_simclr_fine_tunes_a_linear_head(tmp_path, dataset, pretrained, capsys):
    text = f"""--mode=train_then_eval --train_mode=finetune --fine_tune_after_block=4 --zero_init_logits_layer=True
        --variable_schema=(?!global_step|(?:.*/|^)Momentum|head) --global_bn=False --optimizer=momentum --learning_rate=0.1
        --weight_decay=0.0 --train_epochs=100 --train_batch_size=512 --warmup_epochs=0 --dataset=cifar10 --image_size=32
        --eval_split=test --resnet_depth=18 --checkpoint={pretrained} --model_dir={tmp_path / "run"} --use_tpu=False"""
    small = [f"--dataset={dataset}", "--image_size=8", "--train_batch_size=8", "--train_steps=2", "--temperature=0.5"]
    assert main(["train", *text.split(), *small]) == 0
    assert "--temperature" in capsys.readouterr().err
    before, after = load_trained(checkpoint=pretrained).encoder, load_trained(checkpoint=str(tmp_path / "run")).encoder
    for old, new in zip(before.variables, after.variables, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy(), err_msg=old.path)


def test_its_export_is_made_with_it(capsys, finetuned, tmp_path):
    fails(
        capsys, ["export", f"--model_dir={finetuned}", f"--export_dir={tmp_path}"], "run of pre-training", "saved_model"
    )


def fails(capsys, arguments, *parts):
    assert main([str(word) for word in arguments]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]
    assert len(error) == 1
    for part in parts:
        assert part in error[0]


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"resnet_depth": 34}, ["`resnet_depth` must be the checkpoint's, 18", "resnet_depth=34"]),
        ({"width_multiplier": 0.125}, ["`width_multiplier` must be the checkpoint's, 0.0625"]),
        ({"sk_ratio": 0.0625}, ["`sk_ratio` must be the checkpoint's, 0.0"]),
        ({"se_ratio": 0.25, "dry_run": True}, ["`se_ratio` must be the checkpoint's, 0.0"]),
        (
            {"pool_padding": "symmetric"},
            ["`pool_padding` must be the checkpoint's, same"],
        ),  # weights of the same shapes
        (
            {"stem": "padded", "checkpoint": None, "saved_model": "its export"},
            ["`stem` must be the checkpoint's, auto"],
        ),
        ({"checkpoint": "a classifier", "norm": "group"}, ["`norm` must be left out", "brings its own network"]),
        ({"warmup_epochs": 1}, ["`warmup_epochs` must be shorter than the run"]),
        ({"train_batch_size": 200}, ["`train_batch_size` must be at most the number of training images, 96"]),
        ({"ft_proj_selector": 9, "dry_run": True}, ["`ft_proj_selector` must be -1 to 3", "9"]),
        ({"learning_rate": "inf", "dry_run": True}, ["`learning_rate` must be a finite number"]),
        ({"image_size": 1 << 16}, ["the run must fit into memory", "most of it activations"]),
        ({"ft_proj_selector": 4}, ["`ft_proj_selector` must be -1 to 3", "4"]),
        ({"checkpoint": "/no/run"}, ["/no/run"]),
        ({"label_fraction": 1.5}, ["`label_fraction` must be <= 1", "1.5"]),
        ({"label_fraction": 0.01}, ["`train_batch_size` must be at most the number of training images, 4"]),
        ({"temperature": 0.1}, ["`--temperature`"]),
        ({"fine_tune_after_block": 5}, ["`fine_tune_after_block` must be one of"]),
    ],
)
def test_a_wrong_flag(capsys, tmp_path, dataset, pretrained, finetuned, flags, parts):
    flags = {"checkpoint": pretrained, "dataset": dataset, "output_dir": tmp_path / "run", **flags}
    places = {"its export": f"{pretrained}/saved_model", "a classifier": finetuned}
    flags = {name: places.get(value, value) for name, value in flags.items() if value is not None}
    fails(capsys, argv(**flags), *parts)
    assert not (tmp_path / "run").exists()


def test_the_network_is_checked_in_python_too(dataset, pretrained):
    encoder = EncoderConfig(resnet_depth=18, width_multiplier=0.0625, first_shortcut="identity")
    config = FinetuneConfig(
        checkpoint=pretrained,
        encoder=encoder,
        data=DataConfig(dataset=dataset),
        loop=RunConfig(model_dir="never written"),
    )
    with pytest.raises(InputError, match=r"`first_shortcut` must be that of simclr, step 2 .*, projection"):
        finetuning(config).prepare()


def test_sizes_come_from_the_encoder_and_the_data(dataset, pretrained, tmp_path, capsys):
    line = ["finetune", f"--checkpoint={pretrained}", f"--dataset={dataset}", f"--output_dir={tmp_path / 'run'}"]
    assert main([*line, "--train_steps=1", "--dry_run"]) == 0
    text = capsys.readouterr().out
    for part in ("image_size=8", "train_batch_size=96", "96 training images", "held out        test", "rate", "memory"):
        assert part in text
    assert not (tmp_path / "run").exists()
    assert main([*line, "--train_steps=1"]) == 0
    assert "A batch is 96 of the 96 images, not 1,024." in capsys.readouterr().err
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (stored["kind"], stored["data"]["image_size"], stored["loop"]["train_batch_size"]) == ("finetune", 8, 96)
    assert main([*line, "--train_steps=1", "--mode=eval"]) == 0


def test_images_that_cannot_be_learned_from(capsys, tmp_path, pretrained):
    flags = {"checkpoint": pretrained, "output_dir": tmp_path / "run"}
    unlabelled = write_images(tmp_path / "unlabelled.npz", labels=False)
    fails(capsys, argv(dataset=unlabelled, **flags), "`dataset` must have labels")
    gray = write_images(tmp_path / "gray.npz", channels=1)
    fails(capsys, argv(dataset=gray, **flags), "images of 3 channels", "1 channels")
    images = np.zeros((16, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "other.npz", x_train=images, y_train=np.arange(16) % 2, x_test=images, y_test=np.arange(16) % 3)
    fails(capsys, argv(dataset=f"npz:{tmp_path / 'other.npz'}", **flags), "classes of `train_labels` only", "2")
    assert not (tmp_path / "run").exists()


def test_a_class_that_the_test_split_lacks_does_no_harm(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (24, 8, 8, 3), np.uint8)
    np.savez(
        tmp_path / "few.npz", x_train=images, y_train=np.arange(24) % 3, x_test=images[:4], y_test=np.zeros(4, int)
    )
    flags = {"dataset": f"npz:{tmp_path / 'few.npz'}", "output_dir": tmp_path / "run", "width_multiplier": 0.0625}
    assert main(argv(**flags, resnet_depth=18, fine_tune_after_block=4)) == 0
    metrics = json.loads((tmp_path / "run" / "result.json").read_text())
    assert metrics["eval_mean_per_class"] == metrics["eval_top1"]


def test_an_export_is_fine_tuned_like_its_run(dataset, pretrained):
    starts = [{"checkpoint": pretrained}, {"saved_model": f"{pretrained}/saved_model"}]
    trunks = []
    for start in starts:
        config = FinetuneConfig(
            **start,
            encoder=None,
            ft_proj_selector=0,
            data=DataConfig(dataset=dataset, image_size=16),
            loop=RunConfig(model_dir="never written", train_batch_size=8, train_steps=1, mixed_precision="bfloat16"),
        )
        job = finetuning(config).prepare()
        trunks.append(job.model.trunk)
    images = np.random.RandomState(0).rand(2, 16, 16, 3).astype("float32")
    np.testing.assert_array_equal(trunks[0](images), trunks[1](images))
    assert trunks[0].get_layer("initial_conv").compute_dtype == "bfloat16"
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.parametrize(("mode", "config_class"), [("finetune", FinetuneConfig), ("distill", DistillConfig)])
def test_recipes_parse_and_tell_what_to_expect(mode, config_class):
    names = command_line.recipe_names(mode)
    assert names
    for name in names:
        values = command_flags()
        command_line.define(dataclasses.replace(config_class(), encoder=EncoderConfig()), values)
        command_line.parse(command_line.expand([f"--recipe={name}"]), values)
        assert with_encoder(config_class(), values).train_mode == mode
        text = pathlib.Path(command_line.recipe_path(name)).read_text(encoding="utf-8")
        for part in ("Expected:", "Hardware and time:", f"Command: tfcontrastive {mode} --recipe={name}"):
            assert part in text


def test_images_have_the_channels_that_the_encoder_takes(tmp_path):
    Image.new("RGB", (8, 8), "teal").save(tmp_path / "a.png")
    network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    gray = Trained(network, None, None, 8, 1, "gray")
    assert Tuning(FinetuneConfig()).taken(data.load(f"folder:{tmp_path}"), gray).channels == 1
    with pytest.raises(InputError, match=r"must have images of 1 channels, as gray\. Received: 3 channels"):
        Tuning(FinetuneConfig()).taken(data.ArraySource({"train": (np.zeros([2, 8, 8, 3], np.uint8), None)}), gray)
