"""Runs by the clock: minutes become steps once, by a measured pace, and a run that goes on keeps them."""

import dataclasses
import json

import pytest

from tests.commands.runs import ONE_BLOCK, write_images
from tfcontrastive.commands.main import main
from tfcontrastive.config import DataConfig, EncoderConfig, InputError, LoopConfig, TrainConfig
from tfcontrastive.fitting.request import make_request
from tfcontrastive.methods import SimCLRConfig
from tfcontrastive.runs import minutes
from tfcontrastive.runs.minutes import going_on, steps_of
from tfcontrastive.runs.pace import Pace
from tfcontrastive.runs.pretrain import train


@pytest.fixture
def config(tmp_path):
    return TrainConfig(
        method_config=SimCLRConfig(proj_out_dim=8),
        data=DataConfig(dataset=write_images(tmp_path / "images.npz"), image_size=8),
        encoder=EncoderConfig(**ONE_BLOCK),
        loop=LoopConfig(
            model_dir=str(tmp_path / "run"),
            train_batch_size=2,
            train_minutes=0.5,
            mixed_precision="float32",
            knn_epochs=0,
        ),
    )


def with_steps(config, steps):
    return dataclasses.replace(config, loop=dataclasses.replace(config.loop, train_steps=steps))


def test_minutes_without_their_margin_what_was_spent_and_compiling():
    assert steps_of(10, Pace(12.0, 0.5), spent=20.0) == (0.97 * 600 - 20 - 12) // 0.5
    with pytest.raises(InputError, match=r"`train_minutes` must leave time for at least 50 steps"):
        steps_of(0.1, Pace(1.0, 0.5))


def test_the_steps_are_measured_once_and_recorded(config, tmp_path, monkeypatch, eagerly):
    monkeypatch.setattr(minutes, "MARGIN", 1.0)
    monkeypatch.setattr(minutes, "steps_of", lambda asked, pace, spent: int(asked * 60 / pace.step_seconds) // 10)
    monkeypatch.setattr(minutes, "measure_pace", lambda *_: (config, Pace(0.0, 1.0)))
    assert train(config).plan.steps == 3
    stored = json.loads((tmp_path / "run" / "config.json").read_text())["loop"]
    assert (stored["train_minutes"], stored["train_steps"]) == (0.5, 3)
    monkeypatch.setattr(minutes, "measure_pace", lambda *_: pytest.fail("the pace is another one by now"))
    assert train(config).plan.steps == 3  # the same command goes on
    assert train(with_steps(config, 3)).plan.steps == 3  # and so does the config of its result


def test_two_lengths_are_refused(config):
    with pytest.raises(InputError, match="`train_minutes` must be left out where train_steps is given"):
        going_on(with_steps(config, 7), None)
    with pytest.raises(InputError, match=r"train_minutes=0\.5, train_steps=7"):
        going_on(with_steps(config, 7), {"loop": {"train_minutes": 0.5, "train_steps": 9}})
    stored = {"loop": {"train_minutes": 0.7, "train_steps": 9}}  # another run's, which `claim` will refuse
    assert going_on(config, stored) == config


def test_fit_has_minutes_of_its_own():
    with pytest.raises(InputError, match="`train_minutes` must be left out, or 0"):
        make_request("embedded", minutes=6, output_dir=None, train_minutes=5.0)
    assert make_request("embedded", minutes=6, output_dir=None, train_minutes=0.0).minutes == 6


def test_a_dry_run_says_that_nothing_is_measured_yet(config, capsys):
    words = [f"--{name}={value}" for name, value in ONE_BLOCK.items()]
    line = ["train", f"--dataset={config.data.dataset}", "--image_size=8", *words, "--train_minutes=5", "--dry_run"]
    assert main(line) == 0
    assert "steps           those of 5 minutes: the pace is measured when the run begins" in capsys.readouterr().out
