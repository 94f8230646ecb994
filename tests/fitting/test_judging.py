"""The adapted encoder is taken where it is surely better, and what is said does not hide which."""

import numpy as np
import pytest

from tests.fitting.test_verdict import measured
from tfcontrastive.fitting.judging import judge, verdict


def best(gain, error, step=30):
    return {"step": step, "gain": gain, "error": error, "worth": gain - 1.64 * error, "metrics": {"knn_top1": 0.8}}


def judged(row, **how):
    return judge(row, probe="knn_top1", margin=0.005, certainty=1.64, **how)


@pytest.mark.parametrize(
    ("row", "chosen"),
    [
        (best(0.05, 0.01), "adapted"),
        (best(0.05, 0.03), "frozen"),  # may be chance
        (best(0.004, 0.0), "frozen"),  # sure, and below the margin
        (best(-0.02, 0.001), "frozen"),
        (None, "frozen"),
    ],
)
def test_a_gain_must_be_beyond_chance_and_the_margin(row, chosen):
    found = judged(row)
    assert found.chosen == found.facts["chosen"] == chosen
    assert ("returned as it was" in found.reason) == (chosen == "frozen")


def test_a_state_that_a_linear_probe_finds_worse_is_not_taken():
    hits = np.arange(100) < 90
    assert judged(best(0.05, 0.01), linear=(hits, hits)).chosen == "adapted"
    found = judged(best(0.05, 0.01), linear=(np.arange(100) < 70, hits))
    assert found.chosen == "frozen"
    assert "lost -20.0 points" in found.reason


def test_both_encoders_are_told_of_and_which_was_taken():
    pair = [measured("frozen", 0.7, 0.8), measured("adapted", 0.75, 0.82)]
    taken = " ".join(verdict(judged(best(0.05, 0.01)), pair))
    assert "75.0% against 70.0% by kNN and 82.0% against 80.0% by linear probe" in taken
    assert "was not taken" in " ".join(verdict(judged(best(0.0, 0.01)), pair))


def test_a_chosen_encoder_that_is_behind_on_the_reported_images_is_told_of():
    said = verdict(judged(best(0.05, 0.01)), [measured("frozen", 0.7, 0.8), measured("adapted", 0.69, 0.8)])
    assert said[-1].startswith("By kNN it is behind on these")


def test_without_labels_no_more_is_claimed_than_was_seen():
    pair = [measured("frozen", retrieval=0.5), measured("adapted", retrieval=0.9)]
    found = judge(best(0.4, 0.01), probe="retrieval_top1", margin=0.005, certainty=1.64)
    assert "no proof" in verdict(found, pair)[-1]
