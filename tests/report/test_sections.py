"""What each section shows of what it is given."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.report.page import IMAGES, LABELS, PREDICTIONS, RNG, page_of, sections_of
from tfcontrastive.report import (
    Bar,
    Column,
    Comparison,
    ConfusionMatrix,
    EmbeddingMap,
    Gallery,
    Headline,
    Neighbours,
    PerClass,
    Picture,
    Table,
    ViewPairs,
    against,
    confident_mistakes,
)

NEIGHBOURS, MAP = sections_of()[5], sections_of()[6]


def decoded(uri):
    head, body = uri.split(",")
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_a_flag_in_a_sentence_is_one_word_and_nothing_else_is_markup():
    shown = str(Headline([], verdict="a -- b <c>: --use_blur=false; or --checkpoint.").html())
    assert 'a -- b &lt;c&gt;: <span class="flag">--use_blur=false</span>; or' in shown
    assert '<span class="flag">--checkpoint</span>.' in shown


def test_the_best_of_each_column_is_marked(tmp_path):
    columns = [Column("name"), Column("high", ".1%", "highest"), Column("low", ".0f", "lowest"), Column("plain", "d")]
    rows = [("a", 0.5, 3.0, 1), ("b", 0.75, None, 2), ("c", 0.75, 9.0, 3)]
    page = page_of(tmp_path, Table("T", columns, rows))
    assert len(page.named("strong", **{"class": "best"})) == 3
    source = Table("T", columns, rows).html()
    assert re.findall(r'"best"[^>]*>([^<]*)<', source) == ["3", "75.0%", "75.0%"]
    assert "–" in source


def test_a_row_that_stands_apart_is_never_the_best():
    columns = [Column("name"), Column("top-1", ".0%", "highest")]
    source = Table("T", columns, [("a", 0.7), ("b", 0.8), ("supervised", 0.9)], apart=(2,)).html()
    assert re.findall(r'"best"[^>]*>([^<]*)<', source) == ["80%"]


def test_a_single_row_has_no_best():
    assert "best" not in Table("T", [Column("a"), Column("b", best="highest")], [("x", 1)]).html()


def test_many_rows_are_folded(tmp_path):
    page = page_of(tmp_path, Table("T", [Column("a")], [(str(i),) for i in range(100)]))
    assert "70 more" in page.words()
    assert len(page.named("th", scope="row")) == 100


def test_words_begin_at_one_place_and_numbers_end_at_one(tmp_path):
    columns = [Column(name) for name in ("flag", "value", "range", "count", "why")]
    rows = [("a", "81.2%", "± 0.1", 3, "as there"), ("b", "-2.6", "70% – 80%", None, None)]
    page = page_of(tmp_path, Table("T", columns, rows))
    assert [cell.get("class") for cell in page.named("td")] == [None, None, None, "words"] * 2


def test_distances_are_in_points():
    assert against(0.8, {"pixels": 0.7, "chance": 0.1}) == "10.0 points above pixels, 70.0 points above chance"
    assert against(0.7, {"pixels": 0.75, "random": 0.7001}) == "5.0 points below pixels, as good as random"


def test_a_comparison_places_values_in_order():
    source = Comparison("C", [Bar("a", 0.2), Bar("b", 0.5, 0.4, 0.6, "own")], chance=0.1).html()
    places = [float(place) for place in re.findall(r'class="at" style="left:([\d.]+)%"', source)]
    chance = float(re.search(r'class="chance" style="left:([\d.]+)%"', source)[1])
    assert 0 <= chance < places[0] < places[1] <= 100
    assert "40.0% – 60.0%" in source


def test_views_of_an_image_stand_together(tmp_path):
    page = page_of(tmp_path, ViewPairs("V", [IMAGES, IMAGES[:, ::-1]]))
    shown = [decoded(image["src"]) for image in page.named("img")]
    for index in range(6):
        np.testing.assert_array_equal(shown[2 * index], IMAGES[index])
        np.testing.assert_array_equal(shown[2 * index + 1], IMAGES[index, ::-1])
    assert len(page.named("div", **{"class": "views"})) == 6


def test_gray_float_images_and_large_ones(tmp_path):
    page = page_of(tmp_path, ViewPairs("V", [np.full([1, 500, 250, 1], 0.5, np.float32)]))
    shown = decoded(page.named("img")[0]["src"])
    assert shown.shape == (192, 96)
    np.testing.assert_allclose(shown.astype(int), 128, atol=1)


def kinds(page):
    return [figure["class"].split() for figure in page.named("figure") if figure["class"].startswith("picture")]


def test_neighbours_are_framed_by_class(tmp_path):
    page = page_of(tmp_path, NEIGHBOURS)
    expected = ["query", "same", "other", "same", "query", "same", "same", "other"]
    assert [kind for _, kind in kinds(page)] == expected
    assert page.words().count("✓") == 4
    assert page.words().count("✗") == 2
    assert "0.900" in page.words()


def test_neighbours_without_labels_have_no_frames_and_the_names_of_files(tmp_path):
    names = [["1.png", "2.png", "3.png"]]
    page = page_of(
        tmp_path, Neighbours("N", IMAGES[:1], IMAGES[None, 1:4], query_names=["q.png"], neighbour_names=names)
    )
    assert kinds(page) == [["picture", "query"], ["picture"], ["picture"], ["picture"]]
    assert "q.png 1.png" in page.words()


def test_a_gallery_keeps_together_what_belongs_together(tmp_path):
    alone, pair = Picture(IMAGES[0], "a.png"), (Picture(IMAGES[1], "b.png"), Picture(None, "c.png"))
    page = page_of(tmp_path, Gallery("Duplicates", [alone, pair]))
    assert len(page.named("div", **{"class": "together"})) == 1
    assert len(page.named("img")) == 2
    assert "no picture" in page.words()
    assert "Nothing odd" in page_of(tmp_path, Gallery("G", [], empty="Nothing odd.")).words()


def test_long_names_break_after_their_separators():
    assert "photos/<wbr>cats/<wbr>IMG_<wbr>01.jpg" in Picture(None, "photos/cats/IMG_01.jpg").html()


def test_classes_are_counted(tmp_path):
    page = page_of(tmp_path, PerClass("By class", LABELS, PREDICTIONS, ["cat", "dog"], np.array([30, 40])))
    assert "cat 30 3 66.7% 66.7% 0.667 dog (1)" in page.words()
    assert "dog 40 3 66.7% 66.7% 0.667 cat (1)" in page.words()


def test_the_confusion_matrix_counts_as_a_slow_loop(tmp_path):
    labels, predictions = RNG.integers(0, 5, 200), RNG.integers(0, 5, 200)
    page = page_of(tmp_path, ConfusionMatrix("C", labels, predictions))
    cells = [cell for cell in page.named("td") if "title" in cell]
    assert len(cells) == 25
    for place, cell in enumerate(cells):
        label, other = divmod(place, 5)
        count = sum(a == label and b == other for a, b in zip(labels, predictions, strict=True))
        assert cell["title"] == f"{count} of {np.sum(labels == label)} {label}: {other}"
        assert (cell.get("class") == "right") == (label == other)


def test_of_many_classes_the_pairs_confused_most_are_listed(tmp_path):
    labels = np.arange(300) % 100
    predictions = labels.copy()
    predictions[labels == 7] = 8
    words = page_of(tmp_path, ConfusionMatrix("C", labels, predictions)).words()
    assert "7 8 3 100.0%" in words


def test_mistakes_are_the_surest_first():
    confidences = np.array([0.99, 0.6, 0.9, 0.9, 0.8, 0.9])
    gallery = confident_mistakes("M", LABELS, PREDICTIONS, confidences, IMAGES, ["cat", "dog"])
    assert [(one.name, one.detail) for one in gallery.pictures] == [
        ("cat, 80%", "labelled dog"),
        ("dog, 60%", "labelled cat"),
    ]
    np.testing.assert_array_equal(gallery.pictures[0].image, IMAGES[4])
    asked = []
    confident_mistakes("M", LABELS, PREDICTIONS, confidences, asked.append, count=1)
    assert asked == [4]


def known_of(section):
    return json.loads(re.search(r'<script type="application/json">(.*?)</script>', section.html())[1])


def test_the_map_knows_every_point():
    known = known_of(MAP)
    assert known["names"] == ["cat", "<dog>"]
    assert known["classes"] == [0, 1, 0, 1, 0, 1]
    assert (known["across"], known["down"]) == (3, 2)
    assert known["files"][:2] == ["cat", "<dog>"]
    drawn = re.findall(r'<path data-c="(\d)" fill="[^"]*" d="([^"]*)"', MAP.html())
    places = {kind: {tuple(map(float, xy)) for c, d in drawn if c == kind for xy in re.findall(r"M([\d.]+) ([\d.]+)", d)}
              for kind in "01"}  # fmt: skip
    for kind, wanted in enumerate("01"):
        assert places[wanted] == {
            tuple(place) for place, c in zip(known["places"], known["classes"], strict=True) if c == kind
        }
    # One scale for both axes, upside up.
    shown, given = np.array(known["places"]), MAP.points * [1, -1]
    scale = np.ptp(shown, axis=0) / np.ptp(given, axis=0)
    assert scale[0] == pytest.approx(scale[1], rel=0.01)
    np.testing.assert_allclose(shown - shown.mean(0), (given - given.mean(0)) * scale, atol=1)


def test_the_sprite_holds_the_middle_of_every_image():
    images = [np.full([8, 16, 3], 40 * i, np.uint8) for i in range(5)]
    known = known_of(EmbeddingMap("M", RNG.normal(size=(5, 2)), images=images))
    sheet = decoded(known["sprite"])
    side = sheet.shape[1] // known["across"]
    for index in range(5):
        row, column = divmod(index, known["across"])
        tile = sheet[row * side : (row + 1) * side, column * side : (column + 1) * side]
        np.testing.assert_allclose(tile.mean(), 40 * index, atol=3)


@pytest.mark.parametrize("classes", [1, 11, 56, 60])
def test_a_map_of_any_number_of_classes(tmp_path, classes):
    labels = np.arange(120) % classes
    page = page_of(tmp_path, EmbeddingMap("M", RNG.normal(size=(120, 2)), labels))
    legend = [button for button in page.named("button") if "data-c" in button]
    assert len(legend) == (classes if classes <= 56 else 0)
    swatches = [(path["fill"], path["d"]) for path in page.named("path") if path["d"].startswith("M0 0")]
    assert len(set(swatches)) == len(legend), "each class has a mark of its own"


def test_a_map_without_labels_or_of_one_point(tmp_path):
    section = EmbeddingMap("M", np.zeros([1, 2]))
    assert known_of(section)["places"] == [[450.0, 310.0]]
    assert [button for button in page_of(tmp_path, section).named("button") if "data-c" in button] == []
