"""Classes by their prompts, against a loop."""

import numpy as np
import pytest

from tfcontrastive.config import InputError
from tfcontrastive.evaluate import class_vectors, zero_shot, zero_shot_scores


def test_scores_are_the_loops():
    rng = np.random.default_rng(0)
    embeddings, prompts = rng.normal(size=(9, 4)), [rng.normal(size=(count, 4)) for count in (3, 1, 2)]
    scores = zero_shot_scores(embeddings, prompts)
    for i, x in enumerate(embeddings):
        for c, rows in enumerate(prompts):
            mean = sum(row / np.sqrt(row @ row) for row in rows) / len(rows)
            assert scores[i, c] == pytest.approx(x @ mean / np.sqrt(x @ x) / np.sqrt(mean @ mean), abs=1e-6)
    labels = scores.argmax(axis=1)
    assert zero_shot(embeddings, labels, prompts)["zero_shot_top1"] == 1.0
    assert zero_shot(embeddings, (labels + 1) % 3, prompts)["zero_shot_top1"] == 0.0
    assert zero_shot(embeddings, labels, prompts)["zero_shot_chance"] == pytest.approx(1 / 3)


def test_an_array_of_prompts_does_as_well():
    prompts = np.random.default_rng(0).normal(size=(3, 2, 4))
    np.testing.assert_array_equal(class_vectors(prompts), class_vectors(list(prompts)))


@pytest.mark.parametrize(
    ("prompts", "message"),
    [([], "one class or more"), ([np.eye(2), np.zeros([0, 2])], r"`prompts\[1\]` must be a non-empty"),
     ([np.eye(2), np.eye(3)], r"`prompts\[1\]` must have 2 columns")],
    ids=["none", "empty", "width"],
)  # fmt: skip
def test_prompts_that_do_not_fit_are_refused(prompts, message):
    with pytest.raises(InputError, match=message):
        class_vectors(prompts)
