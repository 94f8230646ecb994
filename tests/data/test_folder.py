import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tfcontrastive import data
from tfcontrastive.config import DataConfig, InputError
from tfcontrastive.data.images import decode
from tfcontrastive.system.names import unescaped


def write(path, color=0, size=(6, 5)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (color, color, color)).save(path, format="png")


def write_bad(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"\xff\xd8\xff broken")


def labels(source, split="train"):
    return [int(label) for _, label in source.references(split)]


def test_sub_folders_are_classes_in_sorted_order(tmp_path):
    for name in ("dog/deep/x.PNG", "cat/y.jpeg", "cat/z.png", "dog/.hidden.png", "__MACOSX/dog/x.png"):
        write(tmp_path / name)
    (tmp_path / "dog/notes.txt").write_text("no image")
    source = data.load(f"folder:{tmp_path}")
    assert (source.class_names, source.num_classes, source.splits) == (("cat", "dog"), 2, ("train",))
    assert [os.path.relpath(path, tmp_path) for path in source.paths("train")] == [
        "cat/y.jpeg",
        "cat/z.png",
        "dog/deep/x.PNG",
    ]
    assert labels(source) == [0, 0, 1]


@pytest.mark.parametrize("names", [("a.png", "b.png"), ("a.png", "cat/b.png", "dog/c.png"), ("one/a.png", "one/b.png")])
def test_images_outside_classes_make_the_folder_unlabelled(tmp_path, names):
    for name in names:
        write(tmp_path / name)
    source = data.load(f"folder:{tmp_path}")
    assert (source.num_classes, source.class_names) == (None, None)
    assert set(labels(source)) == {-1}


def test_folders_named_as_splits_are_splits(tmp_path):
    for name in ("train/cat/a.png", "train/dog/b.png", "test/dog/c.png"):
        write(tmp_path / name)
    source = data.load(f"folder:{tmp_path}")
    assert set(source.splits) == {"train", "test"}
    assert source.class_names == ("cat", "dog")
    assert labels(source, "test") == [1]


def test_links_that_lead_back_end(tmp_path):
    write(tmp_path / "cat/a.png")
    write(tmp_path / "dog/a.png")
    (tmp_path / "cat/again").symlink_to(tmp_path)
    assert data.load(f"folder:{tmp_path}").num_examples("train") == 2


@pytest.mark.parametrize(("lister", "where"), [("listdir", ""), ("scandir", "cat")])
def test_a_folder_that_cannot_be_listed_is_refused(lister, where, tmp_path, monkeypatch):
    write(tmp_path / "cat/a.png")
    write(tmp_path / "dog/a.png")
    lists = getattr(os, lister)

    def denies(path):
        if path == os.path.join(tmp_path, where).rstrip("/"):
            raise PermissionError(13, "Permission denied", path)
        return lists(path)

    monkeypatch.setattr(os, lister, denies)
    with pytest.raises(InputError, match=f"must be readable as a whole.*{where}': Permission denied"):
        data.load(f"folder:{tmp_path}")


@pytest.mark.parametrize("where", ["missing", "empty"])
def test_no_images_is_refused(tmp_path, where):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=where):
        data.load(f"folder:{tmp_path / where}")


def test_images_of_one_size_are_held_and_others_not(tmp_path):
    write(tmp_path / "a.png", 10)
    write(tmp_path / "b.png", 20)
    images, held_labels = data.load(f"folder:{tmp_path}").arrays("train")
    assert images[:, 0, 0, 0].tolist() == [10, 20]
    assert held_labels is None
    assert data.load(f"folder:{tmp_path}", cache=False).arrays("train") is None
    write(tmp_path / "c.png", size=(9, 9))
    assert data.load(f"folder:{tmp_path}").arrays("train") is None
    with pytest.raises(InputError, match="one size"):
        data.load(f"folder:{tmp_path}", cache=True).arrays("train")


@pytest.fixture
def hundred(tmp_path):
    for index in range(99):
        write(tmp_path / "images" / f"{index:02d}.png", index)
    write_bad(tmp_path / "images" / "99.jpg")
    return tmp_path


def test_bad_files_are_listed_and_left_out(hundred):
    source, listing = data.load(f"folder:{hundred / 'images'}"), hundred / "run" / "bad_files.txt"
    bad = str(hundred / "images" / "99.jpg")
    assert source.check(str(listing)) == [bad]
    path, reason = listing.read_text().strip().split("\t")
    assert path == bad
    assert reason
    assert source.num_examples("train") == 99
    assert bad not in source.paths("train")


def test_what_was_checked_is_remembered_until_the_file_changes(hundred):
    listing = str(hundred / "run" / "bad_files.txt")
    data.load(f"folder:{hundred / 'images'}").check(listing)
    memory = hundred / "run" / "checked_files.json"
    known = json.loads(memory.read_text())
    good = str(hundred / "images" / "07.png")
    known[good][1] = "remembered as bad"  # the reason
    memory.write_text(json.dumps(known))
    write(hundred / "images" / "99.jpg")
    assert data.load(f"folder:{hundred / 'images'}").check(listing) == [good]


def test_a_folder_that_has_changed_since_is_told_once(hundred, caplog):
    def said():
        caplog.clear()
        data.load(f"folder:{hundred / 'images'}").check(str(hundred / "run" / "bad_files.txt"))
        return [text for text in caplog.messages if "not those of this run's last start" in text]

    assert said() == []
    (hundred / "images" / "00.png").unlink()
    write(hundred / "images" / "new.png")
    write(hundred / "images" / "01.png", size=(9, 9))
    assert "2 are new or changed, 1 are gone" in said()[0]
    assert said() == []


def test_a_listing_of_names_with_tabs_and_line_breaks(hundred):
    bad = hundred / "images" / os.fsdecode(b"tab\t, line\n, \xe9.png")
    (hundred / "images" / "99.jpg").rename(bad)
    listing = hundred / "run" / "bad_files.txt"
    assert data.load(f"folder:{hundred / 'images'}").check(str(listing)) == [str(bad)]
    (line,) = listing.read_text(errors="surrogateescape").split("\n")[:-1]
    assert unescaped(line.split("\t")[0]) == str(bad)


def test_a_listing_of_no_bad_files_is_removed(hundred):
    listing = hundred / "run" / "bad_files.txt"
    data.load(f"folder:{hundred / 'images'}").check(str(listing))
    write(hundred / "images" / "99.jpg")
    assert data.load(f"folder:{hundred / 'images'}").check(str(listing)) == []
    assert not listing.exists()


def test_more_than_one_percent_bad_is_an_error(hundred):
    write_bad(hundred / "images" / "98.png")
    with pytest.raises(InputError, match="2 of 100"):
        data.load(f"folder:{hundred / 'images'}").check(str(hundred / "bad_files.txt"))
    assert len((hundred / "bad_files.txt").read_text().splitlines()) == 2


@pytest.mark.parametrize(("most", "fits"), [("2%", True), ("2", True), ("1%", False), ("0", False)])
def test_max_bad_files(hundred, most, fits):
    write_bad(hundred / "images" / "98.png")
    source = data.load(f"folder:{hundred / 'images'}", max_bad_files=most)
    if fits:
        assert len(source.check()) == 2
        assert source.num_examples("train") == 98
        assert source.left_out == {"unreadable": 2}
    else:
        with pytest.raises(InputError, match=r"`max_bad_files`.*2 of 100.*--max_bad_files=2%"):
            source.check()


def write_deep(path, low, high):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.linspace(low, high, 30).reshape(5, 6).astype(np.uint16)).save(path, format="png")


@pytest.mark.parametrize(
    ("low", "high", "advice"),
    [(0, 4000, "0,4095"), (3, 16000, "0,16383"), (40000, 41000, "40000,41000"), (0, 65535, None), (100, 40000, None)],
)
def test_16_bits_that_would_come_out_dark_are_refused(tmp_path, low, high, advice):
    write_deep(tmp_path / "a.png", low, high)
    write_deep(tmp_path / "b.png", low, high)
    path = f"folder:{tmp_path}"
    if advice is None:
        data.load(path).check()
        return
    for use in (lambda s: s.check(), lambda s: data.eval_batches(s, "train", batch_size=2, image_size=4)):
        with pytest.raises(InputError, match=f"`intensity_range`.*from {low} to {high} of 65535.*such as {advice}"):
            use(data.load(path))
    source = data.load(path, intensity_range=advice)
    assert source.check() == []
    (images,) = (batch["image"] for batch in data.eval_batches(source, "train", batch_size=2, image_size=8))
    assert float(np.max(images)) > 0.95
    assert float(np.min(images)) < 0.05


def test_an_encoders_rule_decodes_whatever_the_source_says(tmp_path):
    """Evaluation and serving see the images as training did."""
    Image.new("RGBA", (8, 8), (0, 255, 0, 0)).save(tmp_path / "a.png")
    write_deep(tmp_path / "b.png", 0, 4095)

    def means(rule, **options):
        source = data.load(f"folder:{tmp_path}", **options)
        batches = data.eval_batches(source, "train", batch_size=1, image_size=8, preprocessing=rule)
        return [round(float(np.mean(batch["image"])), 1) for batch in batches]

    deep = data.Preprocessing(intensity_range="0,4095")
    assert means(deep) == [1.0, 0.5]
    assert means(data.Preprocessing(background_color="black", intensity_range="0,4095")) == [0.0, 0.5]
    assert means(deep, background_color="black") == [0.0, 0.5]
    assert means(None, background_color="#000", intensity_range="0,65535") == [0.0, 0.0]
    assert means(deep, cache=False) == [1.0, 0.5]


def test_transparent_images_are_counted_also_from_memory(tmp_path, caplog):
    write(tmp_path / "images" / "b.png")
    Image.new("RGBA", (8, 8), (0, 255, 0, 9)).save(tmp_path / "images" / "a.png")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level("INFO", logger="absl"):
            data.load(f"folder:{tmp_path / 'images'}").check(str(tmp_path / "run" / "bad_files.txt"))
        assert "1 of 2 images are transparent: they lie on white" in caplog.text


def test_four_channels_keep_opacity(tmp_path):
    Image.new("RGBA", (8, 8), (0, 255, 0, 9)).save(tmp_path / "a.png")
    images, _ = data.load(f"folder:{tmp_path}", channels=4).arrays("train")
    assert images[0, 0, 0].tolist() == [0, 255, 0, 9]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"background_color": "whit"}, "`background_color` must be a colour"), ({"intensity_range": "9,3"}, "LOW,HIGH"),
     ({"intensity_range": "0,70000"}, "LOW,HIGH"), ({"max_bad_files": "many"}, "share such as 5%"),
     ({"max_bad_files": "150%"}, "share such as 5%")],
)  # fmt: skip
def test_bad_options_are_one_line(tmp_path, options, message):
    write(tmp_path / "a.png")
    with pytest.raises(InputError, match=message):
        data.load(f"folder:{tmp_path}", **options)
    with pytest.raises(InputError, match=message):
        DataConfig(**options)


def test_unusual_files_decode(tmp_path):
    rng = np.random.default_rng(0)
    gray16 = Image.fromarray(rng.integers(0, 2**16, (5, 4), dtype=np.uint16))
    color = Image.fromarray(rng.integers(0, 256, (5, 4, 3), dtype=np.uint8))
    gray16.save(tmp_path / "deep.png")
    color.convert("CMYK").save(tmp_path / "cmyk.jpg")
    color.convert("L").save(tmp_path / "gray.jpg")
    color.convert("P").save(tmp_path / "palette.png")
    color.save(tmp_path / "some.bmp")
    color.convert("P").save(tmp_path / "palette.bmp")
    color.convert("L").save(tmp_path / "gray.bmp")
    color.save(tmp_path / "moving.gif", save_all=True, append_images=[color.rotate(90)])
    for channels in (1, 3):
        source = data.load(f"folder:{tmp_path}", channels=channels)
        assert source.check() == []
        for path in source.paths("train"):
            decoded = decode(tf.io.read_file(path), channels)
            assert decoded.shape == (5, 4, channels), path
            if channels == 3 and path.endswith(("bmp", "palette.png", "gif")):  # nothing is lost in them
                np.testing.assert_array_equal(decoded, Image.open(path).convert("RGB"), err_msg=path)


def test_links_to_nowhere_and_names_that_are_not_utf8(hundred):
    images, listing = hundred / "images", hundred / "run" / "bad_files.txt"
    (images / "99.jpg").unlink()
    (images / "link.png").symlink_to(hundred / "nothing.png")
    for name in (b"caf\xe9.png", b"bad\xe9.png"):
        write(images / os.fsdecode(name))
    source = data.load(f"folder:{images}", cache=False)
    assert source.check(str(listing)) == [str(images / "link.png")]
    assert source.num_examples("train") == 101
    assert [len(batch["label"]) for batch in data.eval_batches(source, "train", batch_size=200, image_size=4)] == [101]
    (images / "link.png").unlink()
    write_bad(images / os.fsdecode(b"bad\xe9.png"))
    assert data.load(f"folder:{images}").check(str(listing)) == [str(images / os.fsdecode(b"bad\xe9.png"))]
    assert listing.read_bytes().startswith(os.fsencode(images) + b"/bad\xe9.png\t")


def test_the_channels_are_those_that_are_asked_for_later(tmp_path):
    Image.new("RGB", (6, 5), (200, 30, 30)).save(tmp_path / "a.png")
    source = data.load(f"folder:{tmp_path}")
    gray = source.decoded_to(1)
    assert gray.arrays("train")[0].shape == (1, 5, 6, 1)
    assert gray is source.decoded_to(1)  # held in memory once
    assert gray.decoded_to(3).arrays("train")[0][0, 0, 0].tolist() == [200, 30, 30]
    assert source.channels == 3
    assert source.decoded_to(2) is source  # as no file is
    part = data.Subset(source, {"train": ("train", [0])}).decoded_to(4)
    assert part.arrays("train")[0].shape == (1, 5, 6, 4)
    embedded = data.load("embedded")
    assert embedded.decoded_to(3) is embedded  # gray by its description
