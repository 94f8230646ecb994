"""Pictures of a page of neighbours: as the network sees them, and none of what cannot be shown."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from tests.data.files import colors, cut_out, encode, on, tiff
from tests.export.test_image_bytes import png_header
from tfcontrastive.data.rendering import Rendering
from tfcontrastive.export import gallery, write_duplicates, write_gallery


def pictures(tmp_path, *files, **options):
    """What the page shows of the files: uint8 `[H, W, 3]`, or None."""
    names = [str(position) for position in range(len(files))]
    path = tmp_path / "page.html"
    write_gallery(path, ["0"], [names], np.ones([1, len(files)]), lambda name: files[int(name)], **options)
    figures = re.findall(r'<figure class="picture ?">(.*?)</figure>', path.read_text(), re.S)
    found = [re.search(r'src="data:[^"]*,([^"]*)"', figure) for figure in figures]
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(one[1])))) if one else None for one in found]


def test_pictures_are_decoded_as_the_network_sees_them(tmp_path):
    files = encode(Image.fromarray(cut_out())), tiff(colors().astype(np.uint16) * 257, photometric="rgb")
    transparent, deep = pictures(tmp_path, *files)
    np.testing.assert_allclose(transparent.astype(int), on(cut_out()), atol=1)
    np.testing.assert_array_equal(deep, colors())
    (blue, _) = pictures(tmp_path, *files, rendering=Rendering("blue"))
    assert blue[-1, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    "file",
    [
        None,
        b"",
        b"text",
        encode(Image.fromarray(colors()))[:60],
        b"\x89PNG\r\n\x1a\nxxxx",
        png_header(13_000, 13_000),
        encode(Image.fromarray(colors()), "TIFF")[:300],
    ],
    ids=["none", "empty", "text", "cut", "no header", "13,000 pixels", "cut tiff"],
)
def test_what_cannot_be_shown_is_no_picture_and_no_error(tmp_path, file):
    good, bad = pictures(tmp_path, encode(Image.fromarray(colors())), file)
    assert good.shape == (30, 40, 3)
    assert bad is None


def test_images_that_pairs_join_are_shown_together(tmp_path):
    page, file = tmp_path / "page.html", encode(Image.fromarray(colors()))
    pairs = [("a", "b", 0.99), ("c", "d", 1.0), ("e", "b", 0.98), ("x <i>", "c", 0.99), ("f", "c", 0.99)]
    write_duplicates(page, pairs, lambda name: None if name == "f" else file, threshold=0.98)
    text = page.read_text()
    first, second = text.split('<div class="together">')[1:]
    assert re.findall(r'"name">(.*?)</span>', first) == ["c", "d", "x &lt;i&gt;", "f"]
    assert "no picture" in first
    assert re.findall(r'"name">(.*?)</span>', second) == ["a", "b", "e"]
    assert "7 images" in text


def test_of_large_groups_some_are_shown_and_the_rest_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(gallery, "MOST_PICTURES", 3)
    monkeypatch.setattr(gallery, "MOST_GROUPS", 1)
    pairs = [("a", str(number), 0.99) for number in range(9)] + [("x", "y", 1.0)]
    write_duplicates(tmp_path / "page.html", pairs, lambda name: None, threshold=0.98)
    text = (tmp_path / "page.html").read_text()
    assert text.count("no picture") == 3
    assert "0.9900, and 7 more" in text
    assert "The 1 largest of 2 groups" in text
