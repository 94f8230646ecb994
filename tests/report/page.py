"""A page read back, and sections of every kind to put on one."""

import html.parser

import numpy as np

from tfcontrastive.report import (
    Bar,
    Chart,
    Column,
    Comparison,
    ConfusionMatrix,
    Curves,
    EmbeddingMap,
    Figure,
    Gallery,
    Headline,
    Line,
    Neighbours,
    Notes,
    PerClass,
    Picture,
    PictureRows,
    Provenance,
    Table,
    ViewPairs,
    confident_mistakes,
    write_report,
)

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8, 3)).astype(np.uint8)
LABELS, PREDICTIONS = np.array([0, 0, 1, 1, 1, 0]), np.array([0, 1, 1, 1, 0, 0])


def sections_of(name="cat", other="<dog>"):
    """One section of every kind, in which all text is one of two."""
    names, rng = [name, other], np.random.default_rng(0)
    return [
        Headline([Figure(name, other, name)], title=other, verdict=name),
        Comparison(name, [Bar(other, 0.7, 0.6, 0.8), Bar(name, 0.8, kind="own")], caption=other, axis=name, chance=0.5),
        Table(name, [Column(other), Column(name, ".1%", "highest")], [(name, 0.77), (other, 0.81)], other, apart=(1,)),
        Curves(
            name,
            [
                Chart(name, [Line(other, range(300), rng.normal(size=300)), Line(name, [1], [1])], other, y_label=name,
                      levels=[(other, 0.0)]),
                Chart(other, []),
            ],
            other,
        ),
        ViewPairs(name, [IMAGES, IMAGES[:, ::-1]], other),
        Neighbours(
            name,
            IMAGES[:2],
            np.stack([IMAGES[:3], IMAGES[3:]]),
            query_labels=np.array([0, 1]),
            neighbour_labels=np.array([[0, 1, 0], [1, 1, -1]]),
            similarities=np.array([[0.9, 0.8, 0.7], [0.6, 0.5, 0.4]]),
            class_names=names,
            caption=other,
        ),
        EmbeddingMap(name, rng.normal(size=(6, 2)), np.arange(6) % 2, names, IMAGES, other, names=[name, other] * 3),
        PerClass(name, LABELS, PREDICTIONS, names, np.array([3, 4]), other),
        ConfusionMatrix(name, LABELS, PREDICTIONS, names, other),
        confident_mistakes(name, LABELS, PREDICTIONS, np.linspace(0.5, 1, 6), IMAGES, names, names * 3, caption=other),
        Gallery(name, [Picture(IMAGES[0], name, other), (Picture(None, other), Picture(IMAGES[1], name))], other),
        Gallery(name, [], empty=other),
        PictureRows(name, [(Picture(IMAGES[0], name, kind="query"), [Picture(IMAGES[1], other, alt=name)])], other),
        Notes(name, [other], {name: other}),
    ]  # fmt: skip


class Page(html.parser.HTMLParser):
    """Every tag with its attributes, and whether they nest."""

    VOID = {"meta", "img", "wbr"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text, self.headings = [], [], [], []
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.text += [" "] if tag != "wbr" else []
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "script"} & set(self.open):
            self.text.append(data)

    def named(self, name, **wanted):
        return [given for tag, given in self.tags if tag == name and wanted.items() <= given.items()]

    def words(self):
        """The text as one line."""
        return " ".join("".join(self.text).split())


def source_of(tmp_path, *sections, **options):
    path = write_report(tmp_path / "report.html", title="Title", sections=sections, **options)
    with open(path, encoding="utf-8") as file:
        return file.read()


def page_of(tmp_path, *sections, **options):
    return Page(source_of(tmp_path, *sections, **options))


PROVENANCE = Provenance("tfcontrastive fit photos", 3, "folder:photos", {"k": 5})
