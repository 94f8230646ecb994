"""Labels of a CSV file, and images that a list holds out: a source like any other."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tfcontrastive import data, evaluate
from tfcontrastive.config import InputError
from tfcontrastive.data.label_file import class_order, matched, read_labels


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "photos"
    for name in ("a", "b", "sub/c", "sub/d"):
        path = root / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full([8, 8, 3], 20 * len(name) + ord(name[-1]), np.uint8)).save(path)
    return root


def csv(tmp_path, text: str) -> str:
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na.png,cat\nb.png,dog\n",
        "label;file\ncat;a.png\ndog;b.png\n",
        "\ufefffilename\tclass\na.png\tcat\nb.png\tdog\n",
    ],
)
def test_columns_are_known_by_their_names(tmp_path, text):
    assert read_labels(csv(tmp_path, text)) == {"a.png": "cat", "b.png": "dog"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a.png,cat\n", "columns file and label"),
        ("", "columns file and label"),
        ("file,label\na.png\n", "line 2"),
        ("file,label\na.png,cat\na.png,dog\n", "one label"),
        ("file,label\na.png,\n", "at least one label"),
        ('file,label\n"a.png,cat\n', "unexpected end|EOF"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(tmp_path, text, problem):
    with pytest.raises(InputError, match=problem):
        read_labels(csv(tmp_path, text))


def test_no_such_file_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"`labels` must be a CSV file.*none\.csv"):
        read_labels(tmp_path / "none.csv")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("any") / "labels.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        found = read_labels(path)
    except InputError as error:
        found = {str(error): "`labels`"}
    assert found
    assert all(label.strip() == label != "" for label in found.values())


def test_a_file_is_meant_by_its_path_or_by_its_name_alone():
    files = ["a/1.png", "b/2.png", "b/3.png"]
    assert matched({"a/1.png": "x", "gone.png": "y"}, files, "photos") == {"a/1.png": "x"}
    assert matched({"1.png": "x", "3.png": "y"}, files, "photos") == {"a/1.png": "x", "b/3.png": "y"}
    assert matched({"2": "x"}, files, "photos") == {"b/2.png": "x"}
    with pytest.raises(InputError, match="by its path"):
        matched({"1.png": "x"}, [*files, "c/1.png"], "photos")
    with pytest.raises(InputError, match="none of its 1 files"):
        matched({"9.png": "x"}, files, "photos")


def test_numbers_are_in_their_order():
    assert class_order(["10", "2"]) == ("2", "10")
    assert class_order(["b", "10", "a"]) == ("10", "a", "b")


def test_a_folder_takes_the_labels_of_a_list(tmp_path, folder):
    source = data.load(f"folder:{folder}", labels=csv(tmp_path, "file,label\na.png,cat\nsub/c.png,dog\n"))
    assert source.class_names == ("cat", "dog")
    assert data.labels_of(source, "train").tolist() == [0, -1, 1, -1]
    assert source.partly_labelled


def test_labels_of_one_class_or_for_arrays_are_refused(tmp_path, folder):
    path = csv(tmp_path, "file,label\na.png,cat\n")
    with pytest.raises(InputError, match="two classes"):
        data.load(f"folder:{folder}", labels=path)
    with pytest.raises(InputError, match="`labels` is for folder: only"):
        data.load("embedded", labels=path)


def test_held_out_files_are_a_split_of_their_own(tmp_path, folder):
    path = str(tmp_path / "held_out.json")
    data.HeldOut(4, ("b.png", "sub/d.png")).write(path)
    labels = csv(tmp_path, "file,label\na.png,cat\nb.png,cat\nsub/c.png,dog\nsub/d.png,dog\n")
    source = data.load(f"folder:{folder}", labels=labels, held_out=path)
    assert [path.rpartition("/")[2] for path in source.paths("train")] == ["a.png", "c.png"]
    assert data.labels_of(source, "held_out").tolist() == [0, 1]
    batch = next(iter(data.eval_batches(source, "held_out", batch_size=4, image_size=8)))
    assert batch["label"].numpy().tolist() == [0, 1]


@pytest.mark.parametrize("kind", ["npz", "records"])
def test_held_out_rows_of_other_sources(tmp_path, kind):
    images = np.arange(6, dtype=np.uint8)[:, None, None] * np.ones([6, 4, 4], np.uint8)
    if kind == "npz":
        np.savez(tmp_path / "few.npz", images=images, labels=np.arange(6) % 2)
        spec, count = f"npz:{tmp_path / 'few.npz'}", 6
    else:
        spec, count = "embedded", 10_000
    path = str(tmp_path / "held_out.json")
    data.HeldOut(count, (1, 4)).write(path)
    whole, source = data.load(spec), data.load(spec, held_out=path)
    kept = np.setdiff1d(np.arange(count), [1, 4])
    np.testing.assert_array_equal(source.arrays("train")[0], whole.arrays("train")[0][kept])
    np.testing.assert_array_equal(source.arrays("held_out")[0], whole.arrays("train")[0][[1, 4]])
    half = f"train[:{len(kept) // 2}]"
    assert source.num_examples(half) == len(source.arrays(half)[0]) == len(kept) // 2
    held = {image.tobytes() for image in whole.arrays("train")[0][[1, 4]]}
    assert not held & {image.tobytes() for image in source.arrays(half)[0]}


def test_a_list_of_other_images_is_refused(tmp_path):
    path = str(tmp_path / "held_out.json")
    data.HeldOut(7, (1, 4)).write(path)
    with pytest.raises(InputError, match="which has 10,000"):
        data.load("embedded", held_out=path)
    (tmp_path / "held_out.json").write_text('{"held_out": 3}')
    with pytest.raises(InputError, match="`held_out` must be a list"):
        data.load("embedded", held_out=path)


def test_images_without_a_label_are_not_measured_on(tmp_path, folder):
    labels = csv(tmp_path, "file,label\na.png,cat\nb.png,dog\nsub/c.png,dog\n")
    source = data.load(f"folder:{folder}", labels=labels)
    flat = lambda images, training: images[:, 0, :, 0]  # noqa: E731
    features = evaluate.labelled_features(flat, source, eval_split="train", image_size=8)
    assert features.labels.tolist() == [0, 1, 1]
