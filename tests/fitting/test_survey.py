"""What is said of the images before anything is trained."""

import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.data.files import cut_out
from tests.fitting.folders import write
from tfcontrastive import data
from tfcontrastive.config import InputError
from tfcontrastive.fitting.survey import survey


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    root = write(tmp_path_factory.mktemp("survey") / "shapes", 40)
    Image.fromarray(cut_out()).save(root / "disk" / "icon.png")
    (root / "disk" / "copy.png").write_bytes((root / "disk" / "0000.png").read_bytes())
    (root / "disk" / "0008.png").write_bytes((root / "disk" / "0004.png").read_bytes())
    (root / "square" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (root / "notes.txt").write_text("no image")
    source = data.load(f"folder:{root}", max_bad_files="5%")
    return survey(source, str(tmp_path_factory.mktemp("found") / "bad_files.txt"))


def test_six_lines_hold_the_facts(seen):
    lines = seen.lines()
    assert len(lines) == 6
    total, sizes, colors, classes, left_out, twice = lines
    for line, facts in (
        (total, ("42 images", "train 42")),
        (sizes, ("24 x 24 to 40 x 30", "42 PNG")),
        (colors, ("0 of 42 are gray", "1 have transparent", "8 bits")),
        (classes, ("4 classes", "disk 12", "cross 10")),
        (left_out, ("1 unreadable", "1 no image")),
    ):
        for fact in facts:
            assert fact in line
    assert "4 images of train are there more than once" in twice


def test_ids_are_paths_below_the_folder(seen):
    part = seen.parts["train"]
    assert "disk/0000.png" in part.ids
    assert "square/broken.png" not in part.ids
    same = [part.group[part.ids.index(f"disk/{name}.png")] for name in ("0000", "copy")]
    assert same[0] == same[1]


def test_files_of_one_size_and_other_content_are_two(tmp_path):
    for name, value in (("a", 10), ("b", 200)):
        Image.fromarray(np.full([8, 8, 3], value, np.uint8)).save(tmp_path / f"{name}.bmp")
    found = survey(data.load(f"folder:{tmp_path}")).parts["train"]
    assert found.group.tolist() == [0, 1]


def test_images_of_test_that_are_in_train_are_told_of(tmp_path):
    write(tmp_path, 8, split="train")
    shutil.copytree(tmp_path / "train" / "disk", tmp_path / "test" / "disk")
    found = survey(data.load(f"folder:{tmp_path}"))
    assert found.shared("test") == 2
    assert "2 of test are in train too" in found.lines()[-1]


def test_arrays_have_numbers_for_names():
    images = np.zeros([4, 8, 8], np.uint8)
    images[1:] = np.arange(1, 4)[:, None, None]
    found = survey(data.ArraySource({"train": (images, None)}))
    assert found.parts["train"].ids[3] == "train[3]"
    assert found.class_names is None
    assert "All are gray" in found.lines()[2]
    assert "No labels" in found.lines()[3]


def test_one_image_is_refused_in_one_line(tmp_path):
    write(tmp_path, 1)
    with pytest.raises(InputError, match="at least two images"):
        survey(data.load(f"folder:{tmp_path}"))


def test_gigapixel_images_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    from tfcontrastive.fitting import looking

    write(tmp_path, 4)
    monkeypatch.setattr(looking, "MOST_PIXELS", 24 * 24 - 1)
    source = data.load(f"folder:{tmp_path}")
    monkeypatch.setattr(source, "check", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"megapixels\. Received: .*\.png"):
        survey(source)


def test_how_large_a_refused_image_is_is_told_though_pillow_does_not_open_it(tmp_path):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    write(tmp_path, 2)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 33_000, 33_000, 8, 0, 0, 0, 0))
    path = next(tmp_path.rglob("*.png")).with_name("large.png")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=r"at most 100 megapixels\. Received: .*large\.png', of 1,089\."):
        survey(data.load(f"folder:{tmp_path}"))
