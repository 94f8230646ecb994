"""A dry run fetches, allocates and writes nothing, and refuses what a run refuses."""

import os

import pytest
import tensorflow_datasets as tfds

from tests.commands.runs import ONE_BLOCK, argv, write_images
from tests.commands.test_bad_input import fails
from tfcontrastive.commands.main import main

REFUSED = [
    ({"method": "moco", "queue_size": 100}, ["`queue_size` must be a multiple of the keys of a step, 16", "96 or 112"]),
    ({"memory_size": 100}, ["`memory_size` must be a multiple of the keys of a step, 32", "Take 96 or 128"]),
    ({"method": "moco", "queue_size": 64, "bn_splits": 5}, ["`bn_splits` must divide a replica's batch, 16"]),
    ({"ft_proj_selector": 9}, ["`ft_proj_selector` must be -1 to 3"]),
    ({"method": "instdisc", "bank_size": 63}, ["`bank_size` must hold every training image, 64"]),
    ({"learning_rate": "inf"}, ["`learning_rate` must be a finite number"]),
    ({"learning_rate": "nan"}, ["`learning_rate` must be"]),
    ({"train_batch_size": 100}, ["`train_batch_size` must be at most the number of training images, 64"]),
    ({"warmup_epochs": 1}, ["`warmup_epochs` must be shorter than the run", "4 steps of 4"]),
    ({"gradient_accumulation_steps": 2}, ["BYOL", "`micro_batch_size`"]),
    ({"eval_split": "tset"}, ["tset"]),
    ({"encoder": "keras.applications/VGG61"}, ["VGG16"]),
    ({"method": "moco", "queue_size": 64, "num_views": 3}, ["MoCo takes 2 views of an image", "num_views=3"]),
    ({"small_view_size": 4}, ["`small_view_size` must come with small_views", "small_view_size=4 alone"]),
    ({"small_views": 2, "small_view_size": 8}, ["`small_view_size` must be below image_size, 8"]),
    ({"small_views": 2, "small_view_size": 6}, ["`patch_size` must divide", "8 and 6 pixels", "patch_size=4"]),
    ({"augmentation": "multicrop_2x224_6x96"}, ["`image_size` must be 224", "Received: image_size=8"]),
]


@pytest.fixture
def dataset(tmp_path):
    return write_images(tmp_path / "images.npz")


@pytest.mark.parametrize(("flags", "parts"), REFUSED, ids=[" ".join(flags) for flags, _ in REFUSED])
@pytest.mark.parametrize("dry", [True, False], ids=["dry", "run"])
def test_what_a_run_refuses_a_dry_run_refuses(capsys, tmp_path, dataset, dry, flags, parts):
    line = argv(**{"dataset": dataset, "model_dir": tmp_path / "run", **flags})
    if flags.get("method") in ("moco", "instdisc") or "memory_size" in flags:
        line += ["--proj_out_dim=8"]
    fails(capsys, [*line, *(["--dry_run"] if dry else [])], *parts)
    assert not (tmp_path / "run").exists()


def test_another_runs_directory_is_refused(capsys, tmp_path, dataset):
    assert main(argv(dataset, tmp_path / "run", train_steps=1)) == 0
    before = sorted(os.listdir(tmp_path / "run"))
    fails(capsys, [*argv(dataset, tmp_path / "run", train_steps=2), "--dry_run"], "train_steps: 1 there, 2 now")
    for more in ("--allow_config_change", "--overwrite"):
        assert main([*argv(dataset, tmp_path / "run", train_steps=2), "--dry_run", more]) == 0
    assert sorted(os.listdir(tmp_path / "run")) == before


def test_it_shows_the_views(dataset, capsys):
    line = argv(dataset, "never written", small_views=6, small_view_size=4)
    assert main([*line, "--dry_run"]) == 0
    assert "views           2 of 8 x 8 pixels and 6 of 4 x 4 pixels\n" in capsys.readouterr().out


def test_it_allocates_no_bank(dataset, capsys):
    line = argv(dataset, "never written", method="instdisc", bank_size=1 << 40)
    fails(capsys, [*line, "--dry_run"], "the run must fit into memory", "35184.4 GB, most of it queue")


@pytest.mark.parametrize("method", ["moco_v3", "relic"])
def test_it_allocates_no_network(method, dataset, capsys):
    line = argv(dataset, "never written", method=method, width_multiplier=512)  # terabytes
    fails(capsys, [*line, "--dry_run"], "the run must fit into memory")


def test_it_downloads_nothing(capsys, monkeypatch, tmp_path):
    def download(*_, **__):
        raise AssertionError("a dry run has fetched data")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    line = ["--dataset=cifar10", f"--data_dir={tmp_path / 'tfds'}", "--image_size=32", "--resnet_depth=18", "--dry_run"]
    assert main(["train", *line, "--width_multiplier=0.0625"]) == 0
    text = capsys.readouterr().out
    for part in ("cifar10: not on this machine", "MB at most would be downloaded", "10 classes", "trainable in all"):
        assert part in text
    assert main(["finetune", *line]) == 0
    assert "cifar10: not on this machine" in capsys.readouterr().out
    assert not (tmp_path / "tfds").exists()


def test_a_default_warm_up_is_a_tenth_of_a_short_run(dataset, capsys):
    line = [
        "train",
        f"--dataset={dataset}",
        "--image_size=8",
        "--resnet_depth=18",
        "--width_multiplier=0.0625",
        "--dry_run",
    ]
    assert main([*line, "--train_batch_size=8", "--train_epochs=5"]) == 0
    out, err = capsys.readouterr()
    assert "warm-up 4," in out  # of 41 steps
    assert "warmup_epochs=0.5" in out
    assert "The warm-up is 0.5 epochs, a tenth of the run, not 10." in err


def test_a_default_batch_is_no_larger_than_the_data_and_an_explicit_one_is_refused(dataset, capsys):
    line = [
        "train",
        f"--dataset={dataset}",
        "--image_size=8",
        "--resnet_depth=18",
        "--width_multiplier=0.0625",
        "--dry_run",
    ]
    assert main(line) == 0
    out, err = capsys.readouterr()
    assert "train_batch_size=64" in out
    assert "A batch is 64 of the 64 images, not 512." in err
    fails(capsys, [*line, "--train_batch_size=512"], "at most the number of training images, 64", "Left out")


def test_a_recipe_gives_way_to_small_data_and_a_short_run(dataset, capsys):
    line = ["train", "--recipe=embedded_simclr", f"--dataset={dataset}", "--image_size=8", "--dry_run"]
    assert main([*line, "--train_epochs=1"]) == 0
    out, err = capsys.readouterr()
    assert "warmup_epochs=0.1" in out
    assert "train_batch_size=64" in out
    assert "a tenth of the run, not 1." in err
    assert main([*line, "--train_epochs=2"]) == 0
    assert "warmup_epochs=1.0" in capsys.readouterr().out  # as the recipe has it


def test_a_run_goes_on_with_what_it_chose(dataset, tmp_path, capsys):
    line = ["train", f"--dataset={dataset}", f"--model_dir={tmp_path / 'run'}", "--image_size=8"]
    line += ["--proj_out_dim=8", "--knn_epochs=0", *(f"--{name}={value}" for name, value in ONE_BLOCK.items())]
    assert main([*line, "--train_steps=1"]) == 0
    capsys.readouterr()
    assert main([*line, "--train_steps=2", "--allow_config_change"]) == 0
    assert main([*line, "--train_steps=2", "--mode=eval"]) == 0
    assert "not 512" not in capsys.readouterr().err
    start = ["train", "--method=byol", f"--dataset={dataset}", f"--checkpoint={tmp_path / 'run'}", "--dry_run"]
    assert main(start) == 0
    assert "image_size=8" in capsys.readouterr().out  # of what it starts from
    fails(capsys, [*start, "--sk_ratio=0.0625"], "`sk_ratio` must be the checkpoint's, 0.0")
