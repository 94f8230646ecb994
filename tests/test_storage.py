"""Runs in a bucket: TensorFlow's file system in memory stands for one. It cannot rename directories, as they cannot."""

import contextlib
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import ONE_BLOCK, argv, write_images
from tfcontrastive import export, storage
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.pretrained.trained import load_trained


@pytest.fixture
def bucket(request, monkeypatch):
    """A place in memory, made to behave as a bucket, which has no empty directories.

    There, `assets.extra` is listed among the children of `assets`, and the prefix of a checkpoint is a directory.
    """
    list_all, remove_tree = tf.io.gfile.listdir, tf.io.gfile.rmtree

    def listdir(path):
        names = [name for name in list_all(path) if tf.io.gfile.exists(os.path.join(path, name))]
        return [name for name in names if not is_empty(os.path.join(path, name))]

    def is_empty(path):
        return tf.io.gfile.isdir(path) and not listdir(path)

    def rmtree(path):
        for child in (os.path.join(path, name) for name in listdir(path)):
            rmtree(child) if tf.io.gfile.isdir(child) else tf.io.gfile.remove(child)
        with contextlib.suppress(tf.errors.NotFoundError):
            remove_tree(path)

    monkeypatch.setattr(tf.io.gfile, "listdir", listdir)
    monkeypatch.setattr(tf.io.gfile, "rmtree", rmtree)
    monkeypatch.setattr(tf.train, "load_checkpoint", tf.compat.v1.train.NewCheckpointReader)
    return f"ram://{request.node.name}"


def test_a_file_is_whole_or_absent(bucket):
    storage.make_dirs(bucket)
    storage.write(f"{bucket}/a.txt", "one")
    storage.write(f"{bucket}/a.txt", "twö")
    assert storage.read_text(f"{bucket}/a.txt") == "twö"
    assert storage.names_in(bucket) == ["a.txt"]


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_directory_moves_with_all_it_holds(place, bucket, tmp_path):
    base = bucket if place == "bucket" else str(tmp_path)
    storage.make_dirs(f"{base}/old/inner")
    for name in ("saved_model.pb", "inner/b", "z"):
        storage.write(f"{base}/old/{name}", name)
    storage.move(f"{base}/old", f"{base}/new")
    assert not storage.exists(f"{base}/old/z")
    assert storage.names_in(f"{base}/new") == ["inner", "saved_model.pb", "z"]
    assert storage.read_text(f"{base}/new/inner/b") == "inner/b"


def test_the_graph_of_a_model_comes_last(bucket, monkeypatch):
    order, rename = [], tf.io.gfile.rename

    def noted(old, new, **how):
        order.append(os.path.basename(new))
        rename(old, new, **how)

    storage.make_dirs(f"{bucket}/old/variables")
    for name in ("a", "saved_model.pb", "variables/variables.index"):
        storage.write(f"{bucket}/old/{name}", name)
    monkeypatch.setattr(tf.io.gfile, "rename", noted)
    storage.move(f"{bucket}/old", f"{bucket}/new")
    assert sorted(order[:2]) == ["a", "variables.index"]
    assert order[2:] == ["saved_model.pb"]


def test_a_place_that_cannot_be_written_to_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"`output_dir` must be a directory that can be written to.*not a directory"):
        storage.make_writable("output_dir", str(tmp_path / "file" / "run"))


def test_a_run_lives_in_a_bucket(bucket, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # a path that is taken for a local one would show here
    dataset = write_images(tmp_path / "images.npz")
    flags = {"knn_epochs": 0, "checkpoint_steps": 3, "train_steps": 8}
    assert main(argv(dataset, f"{bucket}/run", **flags)) == 0
    run = f"{bucket}/run"
    before = {name: storage.read_text(f"{run}/{name}") for name in ("config.json", "metrics.jsonl", "result.json")}
    assert main(argv(dataset, run, **flags)) == 0  # nothing left to do
    assert {name: storage.read_text(f"{run}/{name}") for name in before} == before
    assert main(argv(dataset, run, learning_rate=3, **flags)) == 2
    assert "was written with another configuration" in capsys.readouterr().err

    trained, exported = load_trained(checkpoint=run), load_trained(saved_model=f"{run}/saved_model")
    assert trained.fingerprint() == exported.fingerprint()
    images = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    served = tf.saved_model.load(f"{run}/saved_model/1").signatures["serving_default"](images=images)["embedding"]
    np.testing.assert_allclose(served, trained.encoder(images), atol=1e-5)
    assert export.save_model(trained.encoder, f"{run}/saved_model") == f"{run}/saved_model/2"

    assert main([*argv(dataset, run, learning_rate=3, **flags), "--overwrite"]) == 0
    assert json.loads(storage.read_text(f"{run}.1/config.json"))["optimizer"]["learning_rate"] != 3
    assert os.listdir(tmp_path) == ["images.npz"]


def test_a_classifier_is_made_evaluated_and_taught_in_a_bucket(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    dataset = write_images(tmp_path / "images.npz")
    shared = [f"--dataset={dataset}", "--image_size=8", "--eval_split=train"]
    network = [f"--{name}={value}" for name, value in ONE_BLOCK.items()]
    tiny = ["--train_batch_size=16", "--train_steps=2", *network]
    classifier = f"{bucket}/classifier"
    assert main(["finetune", f"--output_dir={classifier}", "--label_fraction=0.5", *tiny, *shared]) == 0
    assert storage.read_text(f"{classifier}/report.html").startswith("<!DOCTYPE html>")
    assert json.loads(storage.read_text(f"{classifier}/label_subset.json"))["rows"]
    student = [
        f"--teacher={classifier}",
        f"--output_dir={bucket}/student",
        "--teacher_logits=cached",
        "--cache_dataset",
    ]
    assert main(["distill", *student, *tiny, *shared]) == 0
    assert "teacher_top1" in json.loads(storage.read_text(f"{bucket}/student/result.json"))
    worth = ["evaluate", "--protocol=knn", f"--checkpoint={bucket}/student", f"--output_dir={bucket}/worth", *shared]
    assert main(worth) == 0
    assert json.loads(storage.read_text(f"{bucket}/worth/metrics.json"))["results"]
    assert os.listdir(tmp_path) == ["images.npz"]
