"""Colours that can be read and told apart, in both schemes, also by the colour-blind."""

import itertools
import re

import numpy as np
import pytest

from tfcontrastive.report.palette import COLOURS, MARKS, mark
from tfcontrastive.report.template import HOME, asset

CSS = asset("page.css")
LIGHT = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", CSS[: CSS.index("@media")]))
DARK = LIGHT | dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", CSS[CSS.index("@media") : CSS.index("* {")]))
SCHEMES = pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])

# Machado, Oliveira and Fernandes, 2009: what those without one kind of cone see, of linear RGB.
SEEN = {
    "by all": np.eye(3),
    "without red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "without green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "without blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def linear(colour):
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    value = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """Of WCAG 2: 1 to 21."""
    low, high = sorted(linear(colour) @ [0.2126, 0.7152, 0.0722] for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(rgb, 0, 1)
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1, 1.089], 1e-4))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@SCHEMES
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *itertools.product(["ink", "soft", "accent", "good", "bad"], ["paper", "card"]),
        ("good", "good-wash"),
        ("ink", "hit"),
        ("ink", "miss"),
    ],
)
def test_text_can_be_read(scheme, text, ground):
    assert contrast(scheme[text], scheme[ground]) >= 4.5


def test_the_dark_scheme_is_dark_and_paper_is_not():
    assert contrast(DARK["paper"], "#000") < 1.5 < contrast(LIGHT["paper"], "#000")
    assert "@media screen and (prefers-color-scheme: dark)" in CSS, "else dark pages are printed"


@SCHEMES
@pytest.mark.parametrize("seen", SEEN)
def test_classes_can_be_told_apart(scheme, seen):
    colours = [scheme[f"c{index}"] for index in range(COLOURS)]
    assert all(contrast(colour, scheme[ground]) >= 2.9 for colour in colours for ground in ("paper", "card"))
    places = [lab(SEEN[seen] @ linear(colour)) for colour in colours]
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(places, 2)) > 12


def test_marks_are_closed_differ_and_pair_up_with_colours():
    marks = [mark(index, 4) for index in range(MARKS)]
    assert len(set(marks)) == MARKS
    assert all(one.startswith("m") and one.endswith("z") for one in marks)
    assert np.gcd(COLOURS, MARKS) == 1


def test_every_class_of_the_templates_has_a_style():
    """Else a name was changed in one place alone."""
    used = set()
    for path in (HOME / "templates").iterdir():
        for names in re.findall(r'class="([^"{]*)"', path.read_text(encoding="utf-8")):
            used |= set(names.split())
    styled = set(re.findall(r"\.([a-z][\w-]*)", CSS))
    assert used - styled - {"bar-name", "name"} == set()
