import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfcontrastive.config import InputError
from tfcontrastive.data.slices import members, parse_split


@pytest.mark.parametrize(
    ("expression", "bounds"),
    [
        ("train", (0, 50)),
        ("train[:]", (0, 50)),
        ("train[:90%]", (0, 45)),
        ("train[90%:]", (45, 50)),
        ("train[-10%:]", (45, 50)),
        ("train[10:20]", (10, 20)),
        ("train[-5:]", (45, 50)),
        ("train[:-5]", (0, 45)),
        ("train[33%:66%]", (16, 33)),
    ],
)
def test_bounds(expression, bounds):
    assert parse_split(expression, {"train": 50}) == ("train", *bounds)


@given(size=st.integers(1, 1000), data=st.data())
def test_counts_slice_as_python_does(size, data):
    start = data.draw(st.none() | st.integers(-size, size))
    stop = data.draw(st.none() | st.integers(-size, size))
    expected = range(size)[start:stop]
    text = f"train[{'' if start is None else start}:{'' if stop is None else stop}]"
    text = text.replace("[-0:", "[0:")
    if len(expected):
        assert parse_split(text, {"train": size}) == ("train", expected.start, expected.stop)
    else:
        with pytest.raises(InputError, match="at least one"):
            parse_split(text, {"train": size})


@given(size=st.integers(2, 300), percent=st.integers(1, 99))
def test_two_parts_are_disjoint_and_complete(size, percent):
    parts = []
    for text in (f"train[:{percent}%]", f"train[{percent}%:]"):
        try:
            parts.append(members(size, *parse_split(text, {"train": size})[1:]))
        except InputError:  # so few images that one part is empty
            parts.append(np.array([], int))
    assert sorted(np.concatenate(parts)) == list(range(size))


def test_a_part_mixes_what_lies_together():
    classes = np.repeat(np.arange(10), 100)
    counts = np.bincount(classes[members(1000, 900, 1000)], minlength=10)
    assert counts.min() >= 3


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("trian", "Did you mean 'train'"),
        ("train[5]", "must look like"),
        ("train[:9%", "must look like"),
        ("train[1:5:2]", "must look like"),
        ("train[:101%]", "within 100%"),
        ("train[:51]", "within 50 images"),
        ("train[7:7]", "at least one"),
        ("train[:0%]", "at least one"),
    ],
)
def test_bad_expressions_are_refused(expression, message):
    with pytest.raises(InputError, match=message):
        parse_split(expression, {"train": 50})
