"""The page as a whole, whatever is on it."""

import dataclasses
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tfcontrastive
from tests.report.page import IMAGES, PROVENANCE, Page, page_of, sections_of, source_of
from tfcontrastive.config import InputError
from tfcontrastive.report import (
    Column,
    Comparison,
    ConfusionMatrix,
    EmbeddingMap,
    Line,
    Neighbours,
    Picture,
    Table,
    ViewPairs,
    in_a_notebook,
)
from tfcontrastive.report.page import page_of as page_text

SECTIONS = sections_of()


def test_every_section_is_on_the_page_in_order(tmp_path):
    sections = [dataclasses.replace(section, title=f"Part {number}.") for number, section in enumerate(SECTIONS)]
    page = page_of(tmp_path, *sections, subtitle="A subtitle.", provenance=PROVENANCE)
    shown = page.words()
    order = ["Title", "A subtitle.", *(f"Part {number}." for number in range(len(sections))), "How this page was made"]
    places = [shown.rindex(text) for text in order]
    assert places == sorted(places)
    assert len(page.named("section")) == len(SECTIONS)
    assert [link["href"] for link in page.named("a")] == [f"#s{number}" for number in range(len(SECTIONS))]


def test_a_page_says_where_it_comes_from(tmp_path):
    shown = page_of(tmp_path, provenance=PROVENANCE).words()
    for part in ("tfcontrastive fit photos", "folder:photos", "Seed 3", f"tfcontrastive {tfcontrastive.__version__}"):
        assert part in shown
    shown = page_of(tmp_path).words()
    assert tfcontrastive.__version__ in shown
    assert re.search(r"Date \d{4}-\d\d-\d\d", shown)
    assert "Seed" not in shown


def test_the_page_loads_nothing_and_prints_without_holes(tmp_path):
    text = source_of(tmp_path, *SECTIONS)
    page = Page(text)
    for _, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/"))
    without_data = re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]*", "", text)
    assert not re.search(r"https?://|@import|<link|<iframe|fetch\(|XMLHttp", without_data)
    policy = page.named("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "loading=" not in text


def test_it_can_be_read_without_eyes(tmp_path):
    page = page_of(tmp_path, *SECTIONS)
    assert page.headings[0] == "h1"
    assert set(page.headings[1:]) == {"h2"}
    for name, attributes in page.tags:
        if name == "img":
            assert attributes["alt"]
        if name == "th":
            assert attributes["scope"] in ("col", "row")
        if name == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden")
        if name == "button":
            assert attributes["type"] == "button"


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


def skeleton(page):
    """The tags, and the names of their attributes: what no text may change, but where it breaks and is set."""
    return [(tag, sorted({*attributes} - {"class"})) for tag, attributes in page.tags if tag != "wbr"]


ATTACKS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"' onload='x",
    "{{ 7 * 7 }}",
    "&lt;",
    "\udce9",
    "]]>",
)
HOSTILE = st.text(st.characters(exclude_categories=()), min_size=1, max_size=12) | st.sampled_from(ATTACKS)


@settings(max_examples=25, deadline=None)
@given(HOSTILE, HOSTILE)
def test_no_text_becomes_markup(name, other):
    text = page_text(name, sections_of(name, other), other, dataclasses.replace(PROVENANCE, command=name, data=other))
    text.encode()  # even of bytes that are no UTF-8
    tame = page_text("a", sections_of("a", "b"), "b", PROVENANCE)
    assert skeleton(Page(text)) == skeleton(Page(tame))
    assert len(re.findall("<script", text)) == 3  # ours, and the data of the map
    assert "alert(1)</script>" not in text


def test_text_is_shown_as_it_is(tmp_path):
    bad = "<script>\"'&"
    page = page_of(tmp_path, *sections_of(bad, bad), subtitle=bad)
    assert "".join(page.text).count(bad) > 40
    (known,) = re.findall(
        r'<script type="application/json">(.*?)</script>', source_of(tmp_path, *sections_of(bad, bad))
    )
    assert json.loads(known)["names"] == [bad, bad]


def test_a_section_that_fails_leaves_the_old_page(tmp_path):
    page_of(tmp_path, SECTIONS[0])
    before = (tmp_path / "report.html").read_bytes()
    with pytest.raises(ZeroDivisionError):
        page_of(tmp_path, type("Broken", (), {"title": "", "html": lambda self: 1 / 0})())
    assert (tmp_path / "report.html").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_notebook_gets_it_in_a_frame():
    (frame,) = Page(in_a_notebook("Title", SECTIONS[:2])).named("iframe")
    assert Page(frame["srcdoc"]).named("section")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Table("T", [Column("a")], [(1, 2)]), "`rows` must hold 1 values each"),
        (lambda: Column("a", best="heighest"), "Did you mean 'highest'"),
        (lambda: Line("a", [1], [1, 2]), "`x` and `y` of a must be as long. Received: 1 and 2."),
        (lambda: ViewPairs("V", []), "`views` must be"),
        (lambda: ViewPairs("V", [IMAGES, IMAGES[:2]]), r"Received: \[6, 2\]"),
        (lambda: Neighbours("N", IMAGES[:3], IMAGES[None, :4]), r"`queries` must begin with \(1,\)"),
        (lambda: dataclasses.replace(SECTIONS[5], neighbour_labels=np.zeros([2, 2])), "`neighbour_labels` must begin"),
        (lambda: EmbeddingMap("M", np.zeros([3, 3])), r"`points` must be a finite array \[N, 2\]"),
        (lambda: EmbeddingMap("M", np.full([3, 2], np.nan)), "`points` must be a finite"),
        (lambda: EmbeddingMap("M", np.zeros([10_001, 2])), "`points` must be at most 10,000"),
        (lambda: EmbeddingMap("M", np.zeros([3, 2]), [1, 2]), "`labels` must have one row for each of 3"),
        (lambda: EmbeddingMap("M", np.zeros([3, 2]), neighbours=[[0], [1], [3]]), "`neighbours` must be rows"),
        (lambda: Picture(None, kind="mate"), "`kind` must be one of"),
        (lambda: ConfusionMatrix("C", [0], [0, 1]).html(), r"must be \[N\] both"),
        (lambda: ConfusionMatrix("C", [-1], [0]).html(), "must hold a class"),
    ],
)
def test_what_does_not_fit(make, message):
    with pytest.raises(InputError, match=message):
        make()


def test_a_comparison_of_nothing_says_so():
    assert "No values." in Comparison("C", []).html()
