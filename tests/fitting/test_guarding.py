"""`fit` from trained weights: other images choose between these and what training made of them."""

import dataclasses
import json

import keras
import numpy as np
import pytest

import tfcontrastive
from tests.commands.runs import ONE_BLOCK
from tests.fitting.folders import drawn
from tfcontrastive import augment, data
from tfcontrastive.callbacks.keep_best import Reading
from tfcontrastive.config import DataConfig, EncoderConfig, TrainConfig
from tfcontrastive.data.held_out import HeldOut
from tfcontrastive.fitting import fit, guarding, leaving, start, unlabelled
from tfcontrastive.fitting.choosing import Parts
from tfcontrastive.fitting.describing import describe
from tfcontrastive.fitting.request import make_request
from tfcontrastive.fitting.stages import Fitting
from tfcontrastive.fitting.survey import Part
from tfcontrastive.methods.configs.simclr import SimCLRConfig
from tfcontrastive.pretrained.trained import Trained
from tfcontrastive.runs.builders import build_encoder

COUNT, SIZE = 64, 8


@pytest.fixture
def scores(monkeypatch):
    """What the images that choose say of an encoder, by its name: hits by kNN and by a linear probe, and the rank."""
    told = {}

    class Chooser:
        def __init__(self, parts, *_):
            self.probe = "knn_top1" if parts.labelled else "retrieval_top1"

        def __call__(self, encoder):
            hits, rank = told[encoder.name][0], told[encoder.name][2]
            return Reading(hits, {self.probe: float(hits.mean()), "effective_rank": rank, "lidar": 4.0})

        def linear(self, encoder):
            return told[encoder.name][1]

    monkeypatch.setattr(guarding, "Chooser", Chooser)
    return told


def hits(right, of=200):
    return (np.arange(of) < right).astype(float)


@pytest.mark.parametrize(
    ("labelled", "trained", "chosen", "said"),
    [
        (True, (hits(120), hits(100), 3.0), "trained", "the trained encoder is taken: +10.0 points"),
        (True, (hits(102), hits(100), 3.0), "given", "the trained encoder, +1.0 points"),
        (True, (hits(120), hits(90), 3.0), "given", "lost -5.0 points"),
        (
            True,
            (hits(60), hits(60), 9.0),
            "given",
            "is not surely 0.5 points better: the encoder is returned as it was",
        ),
        (False, (hits(150), None, 2.0), "given", "kept the rank"),
        (False, (hits(150), None, 2.9), "trained", "by own view found"),
    ],
    ids=["better", "by chance", "worse by a probe", "worse", "flatter", "without labels"],
)
def test_what_is_not_surely_better_is_not_taken(scores, labelled, trained, chosen, said):
    scores |= {"given": (hits(100), hits(100), 3.0), "trained": trained}
    config = TrainConfig(method_config=SimCLRConfig(), data=DataConfig(dataset="npz:x", image_size=SIZE))
    before, after = (keras.Sequential([keras.Input((4,))], name=name) for name in ("given", "trained"))
    parts = Parts(data.load("embedded"), labelled, np.arange(3))
    found = guarding.judged(parts, config, before, after, augment.policy("crop"), step=7)
    assert (found.chosen, found.facts["chosen"]) == (chosen, chosen)
    assert said in found.reason


@pytest.fixture
def given(monkeypatch):
    """Trained weights, whatever file is asked for."""
    keras.utils.set_random_seed(3)
    config = EncoderConfig(**ONE_BLOCK)
    network = build_encoder(config, image_size=SIZE, channels=3)
    found = Trained(network, None, None, SIZE, 3, "weights", config=config, facts={"licence": "CC BY-NC 4.0"})
    monkeypatch.setattr(start, "load_trained", lambda **how: found)
    return found


def test_weights_that_training_did_not_better_are_handed_back(given, tmp_path, monkeypatch, eagerly):
    images, labels = drawn(COUNT, SIZE)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    tuned = []
    monkeypatch.setattr(leaving, "check", lambda saved_model: [])
    monkeypatch.setattr(unlabelled, "clusters", lambda features, seed: None)
    monkeypatch.setattr(tfcontrastive.evaluate, "map_2d", lambda rows: np.asarray(rows)[:, :2])
    monkeypatch.setattr(Fitting, "train_with_labels", lambda self, result, measure, measured, kept: tuned.append(kept))
    out = tmp_path / "out"
    r = fit(
        tmp_path / "images.npz", output_dir=out, minutes=None, checkpoint="weights.pth", train_steps=1,
        train_batch_size=16, learning_rate=1e-6, mixed_precision="float32", proj_out_dim=8, knn_epochs=0,
    )  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    assert (r.chosen, metrics["chosen"]) == ("given", "given")
    assert r.verdict[0].endswith("the encoder is returned as it was.")
    assert r.verdict[0] in (out / "report.html").read_text()
    assert {"given", "trained"} <= metrics.keys()
    assert tuned == [given.encoder]
    expected = given(images[:3] / np.float32(255))
    loaded = tfcontrastive.load(out)
    for found in (loaded, r.as_trained()):
        np.testing.assert_allclose(found(images[:3] / np.float32(255)), expected, rtol=1e-5, atol=1e-6)
    assert loaded.config.encoder == "vit_small"  # further commands start from it as from any run
    card = json.loads((out / "saved_model" / "1" / "model_card.json").read_text())
    assert card["imported"]["licence"] == "CC BY-NC 4.0"
    kept, chose = (HeldOut.read(str(out / f"{name}.json")) for name in ("held_out", "choosing"))
    assert r.trained.plan.num_examples == COUNT - len(kept.images) - len(chose.images)


def test_too_few_images_judge_nothing_and_it_is_said(tmp_path):
    config = TrainConfig(method_config=SimCLRConfig())
    path = str(tmp_path / "choosing.json")
    part = Part(tuple(map(str, range(20))), np.zeros(20, int), np.arange(20), np.arange(20), ())
    seen = dataclasses.make_dataclass("Seen", ["parts", "near", "name"])({"train": part}, [], "few")
    few = data.Subset(data.load("embedded"), {"train": ("train", np.arange(20))})
    assert guarding.images_that_choose(config, few, seen, path) is None
    found = guarding.judged(None, config, None, None, None, step=1)
    assert found.chosen == "trained"
    assert "handed over unjudged" in found.reason


def test_a_dry_run_says_that_images_would_choose(given, tmp_path):
    images, labels = drawn(COUNT, SIZE)
    np.savez(tmp_path / "images.npz", images=images, labels=labels)
    for more, said in (({"checkpoint": "weights.pth"}, True), ({}, False)):
        request = make_request(tmp_path / "images.npz", minutes=1, output_dir=tmp_path / "out", **more)
        lines = describe(request)
        assert (
            any(line.startswith("About 25% of the images of each class that are left would choose") for line in lines)
            == said
        )
