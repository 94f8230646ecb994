"""The whole command on 80 generated images and a small encoder, killed on the way and started again; and what it leaves."""

import json

import keras
import numpy as np
import pytest

import tfcontrastive
from tests.fitting.folders import write
from tfcontrastive.callbacks.keep_best import KeepBest
from tfcontrastive.commands.main import main
from tfcontrastive.data.held_out import HeldOut
from tfcontrastive.fitting import adapting, leaving
from tfcontrastive.pretrained.trained import Trained

COUNT, SIZE = 80, 8


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def given():
    """An encoder with a batch norm, as others hand it over."""
    keras.utils.set_random_seed(1)
    network = keras.Sequential(
        [
            keras.Input((SIZE, SIZE, 3)),
            keras.layers.Conv2D(8, 4, strides=4, activation="relu"),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
        ]
    )
    return Trained(network, None, None, SIZE, 3, "a small encoder")


@pytest.fixture(scope="module")
def done(given, tmp_path_factory):
    """The directory of a run that was killed as it measured the second time, and started again."""
    root = tmp_path_factory.mktemp("adapt")
    write(root / "photos", COUNT, size=SIZE)
    measure = KeepBest.measure

    def killed_at_four(self):
        if int(self.model.optimizer.iterations) == 4:
            raise Killed
        return measure(self)

    words = ["--checkpoint=given", f"--dataset={root / 'photos'}", f"--output_dir={root / 'out'}", "--train_steps=6",
             "--measurements=3", "--checkpoint_steps=3", "--train_batch_size=16",
             "--mixed_precision=float32", "--objective=instance"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapting, "load_trained", lambda **how: given)
        patch.setattr(leaving, "check", lambda saved_model: [])  # in its consumers: test_fit.py
        patch.setattr(adapting.unlabelled, "clusters", lambda features, seed: None)
        with pytest.MonkeyPatch.context() as kill:
            kill.setattr(KeepBest, "measure", killed_at_four)
            kill.setattr(adapting.Adapting, "measure_frozen", lambda self, scene: [])  # told of later
            with pytest.raises(Killed):
                main(["adapt", *words])
        assert main(["adapt", *words]) == 0
    return root / "out"


@pytest.fixture(scope="module")
def metrics(done):
    return json.loads((done / "metrics.json").read_text())


def test_it_goes_on_after_a_kill_and_measures_each_step_once(done):
    measured = json.loads((done / "selection.json").read_text())["measured"]
    assert [row["step"] for row in measured] == [2, 4, 6]
    assert json.loads((done / "result.json").read_text())["step"] == 6


def test_images_that_report_choose_and_teach_are_different_ones(done, metrics):
    held_out = HeldOut.read(str(done / "held_out.json"))
    choosing = HeldOut.read(str(done / "choosing.json"))
    assert choosing.num_images == COUNT - len(held_out.images)  # numbers among the others
    assert metrics["images"] == {
        "train": COUNT - len(held_out.images) - len(choosing.images), "choosing": len(choosing.images),
        "reported": len(held_out.images),
    }  # fmt: skip


def test_both_encoders_are_measured_and_the_choice_has_a_reason(metrics):
    for name in ("raw_pixels", "frozen", "adapted"):
        assert 0 <= metrics[name]["knn_top1_low"] <= metrics[name]["knn_top1"] <= 1
        assert "linear_top1" in metrics[name]
    assert {"retrieval_top1", "effective_rank", "lidar"} <= metrics["frozen"].keys()
    assert metrics["chosen"] == "frozen"  # a handful of images cannot show more
    assert "returned as it was" in metrics["verdict"][0]


def test_the_encoder_that_is_handed_over_is_the_one_that_was_chosen(done, given):
    images = np.random.default_rng(0).random([3, SIZE, SIZE, 3]).astype(np.float32)
    loaded = tfcontrastive.load(done)
    np.testing.assert_allclose(loaded(images), given(images), rtol=1e-5, atol=1e-6)
    card = json.loads((done / "saved_model" / "1" / "model_card.json").read_text())
    assert card["adapted"]["from"] == "a small encoder"


def test_it_leaves_what_fit_leaves(done):
    for name in ("report.html", "embeddings.parquet", "labels.csv", "adapt.json", "clock.json"):
        assert (done / name).stat().st_size
    page = (done / "report.html").read_text()
    for words in ("On the images that choose", "tfcontrastive adapt --checkpoint=given", "as it was given"):
        assert words in page


def test_another_command_does_not_go_on_in_its_directory(done, given, monkeypatch, capsys):
    monkeypatch.setattr(adapting, "load_trained", lambda **how: given)
    photos = done.parent / "photos"
    assert main(["adapt", "--checkpoint=other", f"--dataset={photos}", f"--output_dir={done}", "--train_steps=6"]) == 2
    assert "was made with checkpoint='given'" in capsys.readouterr().err
