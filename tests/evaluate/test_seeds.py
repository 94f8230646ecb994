import dataclasses

import numpy as np
import pytest

from tfcontrastive.config import BaseConfig, InputError, setting
from tfcontrastive.evaluate import KNN, LabelledFeatures, Linear, evaluate_seeds, mean_and_deviation


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


@pytest.mark.parametrize(("evaluator", "seeds", "message"), [
    (KNN(), [0, 1], "chance"), (Seeded(), [0, 0], "different"), (Seeded(), [], "different"),
])  # fmt: skip
def test_bad_seeds(evaluator, seeds, message):
    with pytest.raises(InputError, match=message):
        evaluate_seeds(evaluator, None, None, seeds)
