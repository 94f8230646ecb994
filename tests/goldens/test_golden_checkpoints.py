"""Runs of every format that was ever released are read as they were, or refused in one line."""

import numpy as np
import pytest

from tests.goldens.make import GOLDENS, outputs
from tfcontrastive.config import InputError
from tfcontrastive.methods import METHODS
from tfcontrastive.models.checkpoint import FORMAT
from tfcontrastive.runs.load_run import load_run

RUNS = sorted(path.parent for path in GOLDENS.glob("*/*/config.json"))


def test_every_method_has_a_golden_run_of_this_format():
    assert {run.name for run in RUNS if run.parent.name == str(FORMAT)} == set(METHODS)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_a_golden_run_is_read_as_it_was_written(run):
    """A variable that moved, or has another path, leaves the weights that the network began with."""
    with np.load(run / "expected.npz") as expected:
        for name, value in outputs(load_run(run).model).items():
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_run_of_another_format_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr("tfcontrastive.models.checkpoint.FORMAT", FORMAT + 1)
    with pytest.raises(
        InputError, match=rf"must be of format {FORMAT + 1}\. Received: .*, of format {FORMAT}"
    ) as error:
        load_run(RUNS[0])
    assert "\n" not in str(error.value)
