"""What is said of a result, in words that do not hide a failure."""

import numpy as np

from tfcontrastive.fitting.measure import Features, Measured, chance
from tfcontrastive.fitting.verdict import verdict

EMPTY = Features(np.ones([4, 8], np.float32), np.arange(4), np.ones([4, 8], np.float32), np.arange(4), 4)


def measured(name, knn=None, linear=None, rank=5.0, retrieval=None):
    metrics = {"effective_rank": rank}
    for probe, value in (("knn_top1", knn), ("linear_top1", linear)):
        if value is not None:
            metrics |= {probe: value, f"{probe}_low": value - 0.05, f"{probe}_high": value + 0.05}
    return Measured(name, EMPTY, metrics | ({} if retrieval is None else {"retrieval_top1": retrieval}))


def said(trained, random, pixels):
    level = {"knn_top1": 0.25, "linear_top1": 0.25}
    return verdict([measured("raw_pixels", *pixels), measured("random", *random), trained], level)


def test_a_good_result_is_one_sentence_with_all_numbers():
    (line,) = said(measured("trained", 0.8, 0.9), (0.5, 0.6), (0.7, 0.8))
    for number in ("80.0% and 90.0%", "50.0% and 60.0%", "70.0% and 80.0%", "25.0%"):
        assert number in line


def test_an_encoder_that_does_not_beat_the_untrained_one_is_told_of():
    lines = said(measured("trained", 0.5, 0.9), (0.6, 0.6), (0.4, 0.8))
    assert lines[1] == "Training did not beat the untrained network by kNN."
    assert "--minutes" in lines[-1]


def test_pixels_that_are_better_and_a_lead_that_may_be_chance():
    lines = said(measured("trained", 0.63, 0.9), (0.6, 0.6), (0.7, 0.8))
    assert any("by kNN may be chance" in line for line in lines)
    assert any("By kNN the pixels themselves are still better" in line for line in lines)
    assert sum("--minutes" in line for line in lines) == 1


def test_a_collapse_comes_first():
    lines = said(measured("trained", 0.8, 0.9, rank=1.2), (0.5, 0.6), (0.7, 0.8))
    assert lines[0].startswith("The encoder collapsed: its features fill 1.2 of 8 directions.")


def test_without_labels_it_is_the_view_that_is_found():
    every = [
        measured(name, retrieval=value) for name, value in (("raw_pixels", 0.2), ("random", 0.5), ("trained", 0.4))
    ]
    first, second = verdict(every, {})
    assert first.startswith("40.0% of the images are found by their own augmented view")
    assert second.startswith("Training did not beat the untrained network at that.")
    assert verdict([measured("random"), measured("trained")], {}) == ["There were too few images to measure anything."]


def test_why_there_is_no_accuracy_is_said_as_it_is():
    every = [measured(name, retrieval=0.4) for name in ("raw_pixels", "random", "trained")]
    assert verdict(every, {})[0].endswith(" There are no labels to measure with.")
    assert verdict(every, {}, unmeasured="Nothing is held out.")[0].endswith("0% by raw pixels. Nothing is held out.")


def test_of_identical_images_nothing_is_advised():
    every = [measured("random", retrieval=0.5), measured("trained", rank=1.0, retrieval=0.4)]
    (line,) = verdict(every, {}, alike=True)
    assert line.startswith("All images are identical")


def test_chance_is_the_most_frequent_class_and_a_draw():
    features = Features(np.ones([4, 2]), np.array([0, 0, 1, -1]), np.ones([3, 2]), np.array([0, 1, 1]), 3)
    found = chance(features)
    assert found["knn_top1"] == 1 / 3
    assert found["uniform"] == 1 / 2
