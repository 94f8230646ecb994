import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcontrastive.report import Chart, Line
from tfcontrastive.report.curves import _running_mean
from tfcontrastive.report.ticks import tick_label, ticks


def paths(svg, kind="curve"):
    return re.findall(rf'<path class="{kind}"[^>]* d="([^"]*)"', svg.partition("</svg>")[0])


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), st.integers(2, 8), st.booleans())
def test_ticks_are_even_round_and_enclose_the_range_or_lie_inside(values, count, inside):
    values = np.array(values)
    marks = np.array(ticks(values, count, inside=inside))
    assert 2 <= len(marks) <= count + 2
    step = marks[1] - marks[0]
    np.testing.assert_allclose(np.diff(marks), step, rtol=1e-6)
    slack = step * (1e-6 if not inside else 1.001)
    if np.ptp(values) or not inside:
        assert marks[0] <= values.min() + slack
        assert marks[-1] >= values.max() - slack


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.76, 0.83], ["76%", "78%", "80%", "82%", "84%"]),
        ([0.9012, 0.9016], ["90.12%", "90.13%", "90.14%", "90.15%", "90.16%"]),
        ([0, 1], ["0%", "100%"]),
    ],
)
def test_percent_labels(values, labels):
    marks = ticks(np.array(values), 5)
    assert [tick_label(tick, marks, ".0%") for tick in marks] == labels


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0, 3], ["0", "1", "2", "3"]),
        ([0, 40_000], ["0", "10k", "20k", "30k", "40k"]),
        ([0.05, 0.3], ["0.05", "0.10", "0.15", "0.20", "0.25", "0.30"]),
        ([1e-5, 4e-5], ["1e-05", "2e-05", "3e-05", "4e-05"]),
    ],
)
def test_number_labels(values, labels):
    marks = ticks(np.array(values), 5)
    assert [tick_label(tick, marks, "g") for tick in marks] == labels


def test_the_axis_reaches_what_it_is_told_to():
    """Else an effective rank between 33 and 34 looks like a collapse."""

    def heights(**options):
        (path,) = paths(Chart("rank", [Line("rank", [0, 1, 2], [33.2, 34.3, 33.5])], **options).svg())
        return np.ptp([float(point.split()[1]) for point in re.split("[ML]", path)[1:]])

    assert heights() > 80
    assert heights(include=(0,)) < 15


def test_gridlines_hold_the_curve():
    svg = Chart("c", [Line("a", range(50), np.linspace(0.333, 0.871, 50))], format=".0%").svg()
    grid = [float(y) for y in re.findall(r'class="grid" d="M[\d.]+ ([\d.]+)H', svg)]
    points = np.array([point.split() for point in re.split("[ML]", paths(svg)[0])[1:]], float)
    assert min(grid) <= points[:, 1].min()
    assert points[:, 1].max() <= max(grid)


def test_axes_and_levels_have_names():
    svg = Chart("c", [Line("a", [0, 1], [0.2, 0.4])], y_label="part", x_label="epoch", levels=[("chance", 0.1)]).svg()
    assert re.findall(r'class="axis"[^>]*>(\w+)<', svg) == ["part", "epoch"]
    assert re.findall(r'class="level-name"[^>]*>(\w+)<', svg) == ["chance"]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=300))
def test_running_mean_is_that_of_a_slow_loop(y):
    half = max(1, len(y) // 80)
    slow = [np.mean(y[max(0, i - half) : i + half + 1]) for i in range(len(y))]
    mean = _running_mean(np.array([np.arange(len(y)), y]))
    np.testing.assert_allclose(mean[1], slow, atol=1e-9)


def test_a_gap_splits_the_line():
    (path,) = paths(Chart("c", [Line("a", range(5), [1, 2, float("nan"), 3, 4])]).svg())
    assert path.count("M") == 2
    assert path.count("L") == 2


def test_higher_is_further_up_and_inside():
    (path,) = paths(Chart("c", [Line("a", [0, 1, 2], [1, 5, 3])]).svg())
    points = np.array([point.split() for point in re.split("[ML]", path)[1:]], float)
    assert (np.diff(points[:, 0]) > 0).all()
    assert points[:, 1].argmin() == 1
    assert ((points > 0) & (points < [460, 280])).all()


def test_a_noisy_line_is_drawn_faint_under_its_mean_and_a_smooth_one_is_not():
    x = np.arange(1000)
    noisy = Chart("c", [Line("a", x, np.random.default_rng(0).normal(size=1000))]).svg()
    smooth = Chart("c", [Line("a", x, np.sin(x / 300))]).svg()
    assert (len(paths(noisy, "faint")), len(paths(noisy))) == (1, 1)
    assert (len(paths(smooth, "faint")), len(paths(smooth))) == (0, 1)
    assert paths(noisy)[0].count("L") <= 501


@pytest.mark.parametrize("values", [[], [float("nan")]])
def test_a_chart_without_values_says_so(values):
    assert "No values." in Chart("c", [Line("a", [1.0] * len(values), values)]).svg()


def test_one_point_is_drawn():
    assert '<path class="mark"' in Chart("c", [Line("a", [3], [0.5])]).svg()


def test_points_tell_their_value():
    assert "<title>a: 81.25% at 3</title>" in Chart("c", [Line("a", [2, 3], [0.5, 0.8125])], format=".0%").svg()


def test_a_legend_names_several_lines_only():
    one, two = Line("one", [0, 1], [0, 1]), Line("two", [0, 1], [1, 1], dashed=True)
    assert "legend" not in Chart("c", [one]).svg()
    assert re.findall(r"</svg>(\w+)</button>", Chart("c", [one, two]).svg()) == ["one", "two"]
    assert "stroke-dasharray" in Chart("c", [one, two]).svg()


def test_lines_differ_in_their_marks_and_not_in_colour_alone():
    lines = [Line(str(index), [0, 1], [index, 1]) for index in range(5)]
    shapes = re.findall(r'class="mark" [^>]*d="M[\d.]+ [\d.]+(m[^"]*)"', Chart("c", lines).svg())
    assert len(set(shapes)) == 5
