import base64
import dataclasses
import html.parser
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from tfcontrastive.config import InputError
from tfcontrastive.report import (
    Chart,
    Column,
    Curves,
    EmbeddingMap,
    Figure,
    Headline,
    Line,
    Neighbours,
    Notes,
    Table,
    ViewPairs,
    write_report,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
NEIGHBOURS = Neighbours(
    "Neighbours",
    IMAGES[:2],
    np.stack([IMAGES[:3], IMAGES[3:]]),
    query_labels=np.array([0, 1]),
    neighbour_labels=np.array([[0, 1, 0], [1, 1, -1]]),
    similarities=np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]]),
    class_names=["cat", "<dog>"],
)
MAP = EmbeddingMap("Map", RNG.normal(size=(6, 2)), np.arange(6) % 2, ["cat", "<dog>"], IMAGES)
SECTIONS = [
    Headline([Figure("kNN", "81%", "+4 points")]),
    Table("Results", [Column("encoder"), Column("kNN", ".1%", "highest")], [("random", 0.77), ("trained", 0.81)]),
    Curves("Training", [Chart("loss", [Line("loss", range(300), RNG.normal(size=300))])], caption="A caption."),
    ViewPairs("Views", [IMAGES, IMAGES[:, ::-1]]),
    NEIGHBOURS,
    MAP,
    Notes("Notes", ["Some words."], {"batch size": 256}),
]


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, and whether they nest."""

    VOID = {"meta", "img"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def named(self, name, **wanted):
        return [given for tag, given in self.tags if tag == name and wanted.items() <= given.items()]


def page_of(tmp_path, *sections, **options):
    path = write_report(tmp_path / "report.html", title="Title", sections=sections, **options)
    with open(path, encoding="utf-8") as file:
        return Page(file.read())


def decoded(uri):
    head, body = uri.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_every_section_is_on_the_page_in_order(tmp_path):
    page = page_of(tmp_path, *SECTIONS, subtitle="A subtitle.", footer="The end.")
    shown = " ".join(" ".join(page.text).split())
    # The title is said twice: in the head and on the page; the headings in the contents and on the page.
    order = ["Title", "A subtitle.", "81%", "Results", "A caption.", "Views", "Some words.", "256", "The end."]
    places = [shown.rindex(text) for text in order]
    assert places == sorted(places)
    assert len(page.named("section")) == len(SECTIONS)
    assert [link["href"] for link in page.named("a")] == [f"#s{number}" for number in range(1, 7)]


def test_the_page_loads_nothing(tmp_path):
    path = write_report(tmp_path / "report.html", title="Title", sections=SECTIONS)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    without_data = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"//|@import|<link|<iframe|fetch\(|XMLHttp", without_data)
    policy = page.named("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: type(section).__name__)
def test_each_section_stands_alone(tmp_path, section):
    assert len(page_of(tmp_path, section).named("section")) == 1


def test_no_section_is_needed(tmp_path):
    assert page_of(tmp_path).named("section") == []


def test_any_object_with_title_and_html_is_a_section(tmp_path):
    @dataclasses.dataclass
    class Own:
        title: str

        def html(self):
            return "<em>own</em>"

    assert page_of(tmp_path, Own("Mine")).named("em")


def test_text_is_escaped_everywhere(tmp_path):
    bad = "<script>\"'&"
    page = page_of(
        tmp_path,
        Headline([Figure(bad, bad, bad)], title=bad),
        Table(bad, [Column(bad), Column(bad)], [(bad, bad)], caption=bad),
        Curves(bad, [Chart(bad, [Line(bad, [1, 2], [1, 2]), Line(bad, [1], [1])], x_label=bad)], caption=bad),
        ViewPairs(bad, [IMAGES], caption=bad),
        dataclasses.replace(NEIGHBOURS, title=bad, class_names=[bad, bad], caption=bad),
        dataclasses.replace(MAP, title=bad, class_names=[bad, bad], caption=bad),
        Notes(bad, [bad], {bad: bad}),
        subtitle=bad,
        footer=bad,
    )
    assert len(page.named("script")) == 1
    assert "".join(page.text).count(bad) > 20


def test_a_section_that_fails_leaves_the_old_page(tmp_path):
    page_of(tmp_path, SECTIONS[0])
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(ZeroDivisionError):
        page_of(tmp_path, type("Broken", (), {"title": "", "html": lambda self: 1 / 0})())
    assert (tmp_path / "report.html").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_the_best_of_each_column_is_marked(tmp_path):
    columns = [Column("name"), Column("high", ".1%", "highest"), Column("low", ".0f", "lowest"), Column("plain", "d")]
    rows = [("a", 0.5, 3.0, 1), ("b", 0.75, None, 2), ("c", 0.75, 9.0, 3)]
    page = page_of(tmp_path, Table("T", columns, rows))
    assert len(page.named("strong", **{"class": "best"})) == 3
    source = Table("T", columns, rows).html()
    assert re.findall(r'"best"[^>]*>([^<]*)<', source) == ["3", "75.0%", "75.0%"]
    assert "–" in source


def test_a_single_row_has_no_best():
    assert "best" not in Table("T", [Column("a"), Column("b", best="highest")], [("x", 1)]).html()


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
    assert (shown == 128).all()


def test_neighbours_are_framed_by_class(tmp_path):
    page = page_of(tmp_path, NEIGHBOURS)
    kinds = [figure["class"] for figure in page.named("figure")]
    assert kinds == ["query", "same", "other", "same", "query", "same", "same", "other"]
    titles = [figure["title"] for figure in page.named("figure") if "title" in figure]
    assert titles[:2] == ["cat, similarity 0.900", "<dog>, similarity 0.800"]
    assert titles[-1] == "–, similarity 0.400"


def test_neighbours_without_labels_have_no_frames(tmp_path):
    page = page_of(tmp_path, Neighbours("N", IMAGES[:1], IMAGES[None, 1:4]))
    assert [figure["class"] for figure in page.named("figure")] == ["query", "", "", ""]


def test_the_map_knows_every_point(tmp_path):
    page = page_of(tmp_path, MAP)
    known = json.loads(page.named("div", **{"class": "map"})[0]["data-map"])
    assert known["names"] == ["cat", "<dog>"]
    assert known["classes"] == [0, 1, 0, 1, 0, 1]
    assert known["across"] == 3
    dots = sorted(page.named("circle"), key=lambda dot: int(dot["data-i"]))
    assert [[float(dot["cx"]), float(dot["cy"])] for dot in dots] == known["places"]
    assert len({dot["fill"] for dot in dots}) == 2
    # One scale for both axes, upside up.
    shown, given = np.array(known["places"]), MAP.points * [1, -1]
    scale = np.ptp(shown, axis=0) / np.ptp(given, axis=0)
    assert scale[0] == pytest.approx(scale[1], rel=0.01)
    np.testing.assert_allclose(shown - shown.mean(0), (given - given.mean(0)) * scale, atol=1)


@pytest.mark.parametrize("classes", [1, 11, 60])
def test_a_map_of_any_number_of_classes(tmp_path, classes):
    labels = np.arange(120) % classes
    page = page_of(tmp_path, EmbeddingMap("M", RNG.normal(size=(120, 2)), labels))
    assert len({dot["fill"] for dot in page.named("circle")}) == classes
    assert len(page.named("button")) == (classes if classes <= 40 else 0)


def test_a_map_without_labels_or_of_one_point(tmp_path):
    page = page_of(tmp_path, EmbeddingMap("M", np.zeros([1, 2])))
    assert page.named("circle")[0]["cx"] == "450.0"
    assert page.named("button") == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table("T", [Column("a")], [(1, 2)]), "`rows` must hold 1 values each"),
        (lambda: Column("a", best="heighest"), "Did you mean 'highest'"),
        (lambda: Line("a", [1], [1, 2]), "`x` and `y` of a must be as long. Received: 1 and 2."),
        (lambda: ViewPairs("V", []), "`views` must be"),
        (lambda: ViewPairs("V", [IMAGES, IMAGES[:2]]), r"Received: \[6, 2\]"),
        (lambda: Neighbours("N", IMAGES[:3], IMAGES[None, :4]), r"`queries` must begin with \(1,\)"),
        (lambda: dataclasses.replace(NEIGHBOURS, neighbour_labels=np.zeros([2, 2])), "`neighbour_labels` must begin"),
        (lambda: EmbeddingMap("M", np.zeros([3, 3])), r"`points` must be a finite array \[N, 2\]"),
        (lambda: EmbeddingMap("M", np.full([3, 2], np.nan)), "`points` must be a finite"),
        (lambda: EmbeddingMap("M", np.zeros([3, 2]), [1, 2]), "`labels` must have one row for each of 3"),
    ],
)
def test_arrays_that_do_not_fit(make, message):
    with pytest.raises(InputError, match=message):
        make()
