"""What a tree of files means: splits, classes, links, and what is left out."""

import os
import tempfile
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.files import colors, encode
from tfcontrastive import data
from tfcontrastive.config import DataConfig, InputError, TrainConfig
from tfcontrastive.runs import pretrain as train

PNG = encode(Image.new("RGB", (4, 4)))
SPLITS = ("train", "test", "val", "valid", "validation", "dev")


def plant(root, *names, content=PNG):
    for name in names:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)


def load(root):
    return data.load(f"folder:{root}")


def sizes(source):
    return {split: source.num_examples(split) for split in source.splits}


def labels(source, split="train"):
    return [int(label) for _, label in source.references(split)]


@pytest.mark.parametrize(
    "beside", ["README.txt", "labels.csv", "data.yaml", "LICENSE", "labels/a.txt", "notes/x/y.json"]
)
def test_files_that_are_no_images_do_not_hide_the_splits(tmp_path, beside):
    plant(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png")
    plant(tmp_path, beside, content=b"text")
    source = load(tmp_path)
    assert (source.class_names, sizes(source)) == (("cat", "dog"), {"train": 2, "test": 1})
    assert source.left_out == {"no image": 1}


@pytest.mark.parametrize("held_out", ["valid", "validation", "val", "dev", "test", "Test", "VALID"])
def test_splits_have_many_names(tmp_path, held_out):
    plant(tmp_path, "Train/cat/a.png", "Train/dog/b.png", f"{held_out}/dog/c.png")
    source = load(tmp_path)
    assert sizes(source) == {"train": 2, held_out.lower(): 1}
    assert (source.class_names, labels(source, held_out.lower())) == (("cat", "dog"), [1])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("train/a.png", "bus/b.png"), "train beside bus.*If train is a split.*train/train"),
        (("train/a/a.png", "test/a/b.png", "extra/c.png"), "splits or classes.*beside extra"),
        (("train/a.png", "Train/b.png"), "each split once"),
        (("google/train/a/x.png", "google/test/a/y.png"), "splits at its top.*Give folder:.*google"),
        (("cat/train/x.png", "cat/test/y.png", "dog/z.png"), "splits at its top"),
        (("train/cat/train/x.png", "train/cat/val/x.png", "test/y.png"), "splits at its top"),
    ],
)
def test_splits_and_classes_that_cannot_be_told_apart_are_refused(tmp_path, names, message):
    plant(tmp_path, *names)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_images_beside_the_splits_are_counted(tmp_path, caplog):
    plant(tmp_path, "train/cat/a.png", "train/dog/b.png", "banner.png")
    source = load(tmp_path)
    assert (sizes(source), source.left_out) == ({"train": 2}, {"beside the splits": 1})
    assert "1 images beside the splits train are left out, such as banner.png" in caplog.text


@pytest.mark.parametrize("test_images", [("test/x.png", "test/y.png"), ("test/unknown/x.png", "test/unknown/y.png")])
def test_a_test_split_without_labels_leaves_those_of_train(tmp_path, test_images, caplog):
    plant(tmp_path, "train/cat/a.png", "train/dog/b.png", *test_images)
    source = load(tmp_path)
    assert source.class_names == ("cat", "dog")
    assert (labels(source), labels(source, "test")) == ([0, 1], [-1, -1])
    assert source.arrays("test")[1].tolist() == [-1, -1]
    assert "the 2 images of test lie in no class folder: they have no labels" in caplog.text
    # Nothing can be measured on it: a run takes it neither by itself nor where it is told to.
    assert train.eval_split(TrainConfig(), source) is None
    with pytest.raises(InputError, match="`eval_split` must have labels"):
        train.eval_split(TrainConfig(data=DataConfig(eval_split="test[:50%]")), source)


def test_class_folders_that_hold_only_folders_are_told_of(tmp_path, caplog):
    plant(tmp_path, "google/logo/a.png", "google/icon/b.png", "twitter/logo/c.png")
    assert load(tmp_path).class_names == ("google", "twitter")
    assert "hold only folders, such as google/icon" in caplog.text


def test_class_names_and_counts_are_said(tmp_path, caplog):
    plant(tmp_path, "cat/a.png", "cat/b.png", "dog/c.png")
    with caplog.at_level("INFO", logger="absl"):
        load(tmp_path)
    assert "train: 3 images in 2 classes: cat 2, dog 1." in caplog.text


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [(".jfif", "JPEG", {}), (".jpe", "JPEG", {}), (".ppm", "PPM", {}), ("", "JPEG", {}), (".webp", "WEBP", {}),
     (".tif", "TIFF", {}), (".avif", "AVIF", {}), (".dat", "PNG", {})],
)  # fmt: skip
def test_images_are_known_by_their_content(tmp_path, name, kind, options):
    plant(tmp_path, "cat/a.png", "dog/b.png")
    plant(tmp_path, f"fox/c{name}", content=encode(Image.fromarray(colors()), kind, **options))
    source = load(tmp_path)
    assert source.class_names == ("cat", "dog", "fox")
    assert source.check() == []
    batch = next(iter(data.eval_batches(source, "train", batch_size=3, image_size=8)))
    assert 0.3 < float(np.mean(batch["image"][2])) < 0.7


def test_kinds_that_cannot_be_read_are_counted(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr("tfcontrastive.data.transcode._has_heif", lambda: False)
    plant(tmp_path, "cat/a.png", "dog/b.png")
    plant(tmp_path, "dog/c.jxl", content=b"\xff\x0a....")
    plant(tmp_path, "fox/d.heic", "fox/e.heic", content=b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    source = load(tmp_path)
    assert source.left_out == {"JPEG XL": 1, "HEIC": 2}
    assert "2 HEIC images are left out, such as fox/d.heic: they need pillow-heif: pip install" in caplog.text
    assert "1 JPEG XL images are left out" in caplog.text


def test_two_classes_that_are_links_to_one_folder_are_kept(tmp_path, caplog):
    plant(tmp_path / "elsewhere", "a.png", "b.png")
    (tmp_path / "root").mkdir()
    for name in ("cat", "dog"):
        (tmp_path / "root" / name).symlink_to(tmp_path / "elsewhere")
    source = load(tmp_path / "root")
    assert (source.class_names, labels(source)) == (("cat", "dog"), [0, 0, 1, 1])
    assert "the classes cat, dog of train hold the same folder" in caplog.text


def test_images_are_never_trained_on_and_held_out(tmp_path):
    plant(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/cat/c.png")
    (tmp_path / "train/dog/again.png").symlink_to(tmp_path / "test/cat/c.png")
    source = load(tmp_path)
    assert (sizes(source), source.left_out) == ({"train": 2, "test": 1}, {"held out too": 1})
    (tmp_path / "val").symlink_to(tmp_path / "train")
    with pytest.raises(InputError, match="train must share no images with val"):
        load(tmp_path)


def test_a_link_in_a_split_to_the_whole_folder_brings_nothing_in(tmp_path):
    plant(tmp_path, "loose.png", "train/cat/a.png", "train/dog/b.png")
    (tmp_path / "train" / "dog" / "all").symlink_to(tmp_path)
    source = load(tmp_path)
    assert (sizes(source), source.left_out) == ({"train": 2}, {"beside the splits": 1})


def test_a_tilde_and_brackets_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    plant(tmp_path, "x[10:5]/cat[1]/a.png", "x[10:5]/dog/b.png")
    for spec in ("folder:~/x[10:5]", f"folder:{tmp_path}/x[10:5]"):
        source = data.load(spec)
        assert source.class_names == ("cat[1]", "dog")
        assert source.num_examples("train[:50%]") == 1
    assert data.FolderSource(tmp_path / "x[10:5]").splits == data.FolderSource("~/x[10:5]").splits == ("train",)


BRANCHES = st.sampled_from(["", "cat", "dog", "fox/deep", "train", "test", "Test", "VAL", "train/cat", "train/dog",
                            "test/cat", "test/dog", "valid/cat", "dev", "labels", ".hidden"])  # fmt: skip
NAMES = st.sampled_from(["a.png", "b.PNG", "c", "d.dat", "notes.txt", "e.csv"])
CONTENTS = st.sampled_from([PNG, b"text", encode(Image.new("RGB", (4, 4)), "WEBP"), b"\xff\x0a...."])


@settings(max_examples=40, deadline=None)
@example(files={("", "a.png"): PNG, ("train", "a.png"): PNG}, links=[("train", "")])
@given(files=st.dictionaries(st.tuples(BRANCHES, NAMES), CONTENTS, min_size=1, max_size=12),
       links=st.lists(st.tuples(BRANCHES, BRANCHES), max_size=2))  # fmt: skip
def test_every_image_is_in_one_split_or_counted(files, links):
    """Random trees: refused in one line, or each image is in one split with its folder's label, or left out and counted."""
    with tempfile.TemporaryDirectory() as root:
        for (branch, name), content in files.items():
            path = os.path.join(branch, name)
            # By their usual names files count as images unseen; what is none is found by `check`.
            plant(root, path, content=PNG if name.lower().endswith("png") else content)
        for branch, target in links:
            where = os.path.join(root, branch, "link")
            there = os.path.isdir(os.path.join(root, target)) and os.path.isdir(os.path.dirname(where))
            if there and not os.path.lexists(where):
                os.symlink(os.path.join(root, target), where)
        refusal = ""
        try:
            source = data.FolderSource(root)
        except InputError as error:
            refusal = str(error)
        assert "\n" not in refusal
        if refusal:
            return
        where = Counter()
        real = {}
        for split in source.splits:
            held = source.paths(split)
            assert len(held) == source.num_examples(split)
            for path, label in zip(held, labels(source, split), strict=True):
                inside = os.path.relpath(path, root).split(os.sep)
                if split != "train" or inside[0].lower() == "train":
                    assert inside[0].lower() == split
                    inside = inside[1:]
                if label >= 0:
                    assert source.class_names[label] == inside[0]
                assert (label >= 0) <= (len(inside) > 1)
                where[path] += 1
                real.setdefault(os.path.realpath(path), set()).add(split)
        assert max(where.values()) == 1
        for splits in real.values():
            assert splits == {"train"} or "train" not in splits
        everything = set(walk(root, ()))
        assert len(everything) == len(where) + sum(source.left_out.values())


def walk(directory, above):
    """Every file that is not hidden, by every way that leads to it."""
    real = os.path.realpath(directory)
    if real in above:
        return
    for name in sorted(os.listdir(directory)):
        path = os.path.join(directory, name)
        if name.startswith("."):
            continue
        if os.path.isdir(path):
            yield from walk(path, (*above, real))
        else:
            yield path
