"""Each mistake is one line on stderr, exit code 2, and leaves nothing half-written."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import RESNET, argv, write_images
from tfcontrastive.commands.main import main


def fails(capsys, arguments, *parts):
    assert main([str(word) for word in arguments]) == 2
    error = capsys.readouterr().err.strip().splitlines()
    error = [line for line in error if line.startswith("tfcontrastive: ")]
    assert len(error) == 1
    for part in parts:
        assert part in error[0]


@pytest.fixture
def dataset(tmp_path):
    return write_images(tmp_path / "images.npz")


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"method": "simcrl"}, ["`method` must be one of", "Did you mean 'simclr'"]),
        ({"dataset": "cifar11"}, ["cifar11", "'cifar10'"]),
        ({"learning_rat": 1}, ["`--learning_rat`", "--learning_rate"]),
        ({"recipe": "simclr_cifar"}, ["`recipe`", "simclr_cifar10_r18"]),
        ({"seed": 2**32}, ["`seed` must be <= 4294967295", "seed=4294967296"]),
        ({"nouse_blur": "yes"}, ["--nouse_blur=yes does not take an argument"]),
        ({**RESNET, "resnet_depth": 19}, ["`resnet_depth` must be one of", "19"]),
        ({"train_batch_size": 100}, ["`train_batch_size` must be at most the number of training images, 64", "100"]),
        ({"num_virtual_replicas": 2, "train_batch_size": 15}, ["multiple of the number of replicas, 2", "15"]),
        (
            {"num_virtual_replicas": 2, "steps_per_execution": 2},
            ["`steps_per_execution` must be 1 on several replicas"],
        ),
        (
            {**RESNET, "num_virtual_replicas": 2, "micro_batch_size": 4},
            ["`micro_batch_size` on several", "--norm=group"],
        ),
        ({"micro_batch_size": 5}, ["`micro_batch_size` must divide a replica's 16 images", "micro_batch_size=5"]),
        ({"gradient_accumulation_steps": 2}, ["BYOL", "`micro_batch_size`"]),
        ({"strategy": "tpu"}, ["`strategy=tpu` needs a TPU that can be reached"]),
        ({"strategy": "multi_worker"}, ["needs TF_CONFIG"]),
        ({"encoder": "keras.applications/VGG61"}, ["VGG16"]),
        ({"encoder": "keras.applications/VGG16", "image_size": 8}, ["32", "8"]),
        ({"eval_split": "tset"}, ["tset"]),
        ({"model_dir": "/proc/no/run"}, ["`model_dir` must be a directory that can be written to"]),
    ],
)
def test_a_wrong_flag(capsys, tmp_path, dataset, flags, parts):
    fails(capsys, argv(**{"dataset": dataset, "model_dir": tmp_path / "run", **flags}), *parts)
    assert not (tmp_path / "run").exists()


def test_an_unknown_command(capsys):
    fails(capsys, ["trian"], "Did you mean 'train'")


def test_an_empty_folder(capsys, tmp_path):
    (tmp_path / "photos").mkdir()
    fails(capsys, argv(f"folder:{tmp_path / 'photos'}", tmp_path / "run"), "photos")
    assert not (tmp_path / "run").exists()


def test_a_label_out_of_range(capsys, tmp_path):
    images = np.zeros((64, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "bad.npz", images=images, labels=np.full(64, -7))
    fails(capsys, argv(f"npz:{tmp_path / 'bad.npz'}", tmp_path / "run"), "label", "-7")


@pytest.mark.parametrize("bad", [[0], [20]])
def test_a_record_that_cannot_be_decoded(capsys, tmp_path, bad):
    """Whether it is the first, or met while training since images of several sizes are not held."""
    with tf.io.TFRecordWriter(str(tmp_path / "images.tfrecord")) as file:
        for i in range(21):
            image = b"no image" if i in bad else tf.io.encode_png(tf.zeros([8, 8 + i, 3], tf.uint8)).numpy()
            feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
            file.write(tf.train.Example(features=tf.train.Features(feature={"image": feature})).SerializeToString())
    flags = {"train_steps": 3, "cache_dataset": False}
    command = argv(f"tfrecord:{tmp_path / 'images.tfrecord'}", tmp_path / "run", **flags)
    fails(capsys, command, "it is no image. Earlier checkpoints")


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_checkpoint(capsys, tmp_path, dataset):
    flags = {
        "optimizer": "momentum",
        "learning_rate": 1e25,
        "warmup_epochs": 0,
        "train_steps": 50,
        "checkpoint_steps": 1,
    }
    fails(capsys, argv(dataset, tmp_path / "run", **flags), "the loss must be a finite number", "at step")
    newest = tf.train.latest_checkpoint(tmp_path / "run" / "checkpoints")
    assert newest is None or int(newest.rpartition("-")[2]) < 50
    assert not (tmp_path / "run" / "saved_model").exists()


def test_another_runs_directory(capsys, tmp_path, dataset):
    assert main(argv(dataset, tmp_path / "run", train_steps=1)) == 0
    fails(capsys, argv(dataset, tmp_path / "run", train_steps=2), "train_steps: 1 there, 2 now", "--overwrite")


def test_help_does_not_wait_for_tensorflow():
    code = (
        "import sys; from tfcontrastive.commands import main; main.main(['--help']); assert 'keras' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "train" in run.stdout


@pytest.mark.parametrize("words", [["train", "--help"], ["--help"]])  # more and less than a buffer holds
def test_output_that_nobody_reads_is_no_mistake(words):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tfcontrastive.commands.main", *words]
    run = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    assert run.returncode == 128 + signal.SIGPIPE
    assert run.stderr == b""


@pytest.mark.parametrize("flags", [[], ["--dry_run"]])
def test_a_method_that_learns_from_labels_needs_them(tmp_path, capsys, flags):
    dataset = write_images(tmp_path / "images.npz", labels=False)
    arguments = [*argv(dataset, tmp_path / "run", method="supcon"), *flags]
    fails(capsys, arguments, "`method=supcon` needs labels", "which has none")
    assert not (tmp_path / "run").exists()
