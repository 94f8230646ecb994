import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcontrastive.report import Chart, Line
from tfcontrastive.report.curves import _running_mean, _tick_label, _ticks


def paths(svg, kind="curve"):
    return re.findall(rf'<path class="{kind}"[^>]* d="([^"]*)"', svg)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=5), st.integers(2, 8))
def test_ticks_are_even_round_and_cover_the_range(values, count):
    values = np.array(values)
    ticks = np.array(_ticks(values, count))
    assert 2 <= len(ticks) <= count + 2
    step = ticks[1] - ticks[0]
    np.testing.assert_allclose(np.diff(ticks), step, rtol=1e-6)
    assert ticks[0] <= values.min() + step * 1.001
    assert ticks[-1] >= values.max() - step * 1.001


@pytest.mark.parametrize(
    ("values", "labels"),
    [
        ([0.76, 0.83], ["76%", "78%", "80%", "82%"]),
        ([0.9012, 0.9016], ["90.12%", "90.13%", "90.14%", "90.15%", "90.16%"]),
        ([0, 1], ["0%", "100%"]),
    ],
)
def test_percent_labels(values, labels):
    ticks = _ticks(np.array(values), 5)
    assert [_tick_label(tick, ticks, ".0%") for tick in ticks] == labels


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
    ticks = _ticks(np.array(values), 5)
    assert [_tick_label(tick, ticks, "g") for tick in ticks] == labels


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
    assert ((points > 0) & (points < [460, 270])).all()


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
    assert '<circle class="lone"' in Chart("c", [Line("a", [3], [0.5])]).svg()


def test_points_tell_their_value():
    assert "<title>a: 81.25% at 3</title>" in Chart("c", [Line("a", [2, 3], [0.5, 0.8125])], format=".0%").svg()


def test_a_legend_names_several_lines_only():
    one, two = Line("one", [0, 1], [0, 1]), Line("two", [0, 1], [1, 1], dashed=True)
    assert "legend" not in Chart("c", [one]).svg()
    assert re.findall(r"</i>(\w+)</li>", Chart("c", [one, two]).svg()) == ["one", "two"]
    assert "stroke-dasharray" in Chart("c", [one, two]).svg()
