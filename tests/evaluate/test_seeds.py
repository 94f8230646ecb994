import dataclasses

import numpy as np
import pytest

from tfcontrastive.config import BaseConfig, InputError, setting
from tfcontrastive.evaluate import KNN, LabelledFeatures, Linear, Predictions, evaluate_seeds, mean_and_deviation
from tfcontrastive.evaluate.seeds import by_class


@dataclasses.dataclass(frozen=True)
class Seeded(BaseConfig):
    seed: int = setting(0, "Seed.")

    def run(self, encoder, source):
        return {"value": float(self.seed), "square": float(self.seed**2)}


def test_mean_and_sample_deviation():
    runs = evaluate_seeds(Seeded(), None, None, [1, 2, 6])
    mean, deviation = mean_and_deviation(runs)
    assert mean == {"value": 3.0, "square": pytest.approx(41 / 3)}
    assert deviation["value"] == pytest.approx(np.sqrt((4 + 1 + 9) / 2))
    assert mean_and_deviation({0: {"value": 1.0}}) == ({"value": 1.0}, {})


def test_features_are_taken_once_for_all_seeds(monkeypatch):
    rng = np.random.default_rng(0)
    taken = []

    def features(self, encoder, source):
        taken.append(self)
        labels = np.arange(40) % 2
        return LabelledFeatures(rng.normal(size=(40, 3)), labels, rng.normal(size=(10, 3)), labels[:10], 2)

    monkeypatch.setattr(Linear, "features", features)
    runs = evaluate_seeds(Linear(), None, None, [0, 5])
    assert len(taken) == 1
    assert set(runs) == {0, 5}


def test_classes_over_seeds_are_means_of_their_own_recalls():
    labels = np.array([0, 0, 0, 0, 2, 2, -1])
    said = [
        Predictions(labels, np.array(classes), np.ones(7)) for classes in ([0, 0, 0, 2, 2, 2, 0], [0, 0, 0, 0, 0, 0, 2])
    ]
    first, last = by_class(said, ["cat", "none", "dog"])
    assert (first["class"], first["test"], first["recall"]) == ("cat", 4, 0.875)
    assert first["recall_deviation"] == pytest.approx(np.std([0.75, 1.0], ddof=1))
    assert first["precision"] == pytest.approx(np.mean([1.0, 4 / 6]))
    assert (last["class"], last["test"], last["recall"]) == ("dog", 2, 0.5)
    assert last["precision"] == pytest.approx(2 / 3)  # the other run named none so
    assert "precision_deviation" not in last


@pytest.mark.parametrize(("evaluator", "seeds", "message"), [
    (KNN(), [0, 1], "chance"), (Seeded(), [0, 0], "different"), (Seeded(), [], "different"),
])  # fmt: skip
def test_bad_seeds(evaluator, seeds, message):
    with pytest.raises(InputError, match=message):
        evaluate_seeds(evaluator, None, None, seeds)
