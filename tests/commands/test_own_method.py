"""A method, a network, images and an evaluation of the user's own, those of docs/own-method.md, through the commands."""

import json
import pathlib
import re
import sys

import keras
import numpy as np
import pytest

import tfcontrastive
from tests.commands.runs import argv, write_images
from tests.methods.cases import batches, fit, tiny_encoder, weights
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.encoders import encoder_from_name
from tfcontrastive.methods import method_class
from tfcontrastive.protocols import settings_class
from tfcontrastive.runs.load_run import load_run
from tfcontrastive.runs.pretrain import train

ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The page's files: align.py, plain.py, dots.py, spread.py."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "own-method.md").read_text(), re.S)
    folder = tmp_path_factory.mktemp("own")
    for name, code in zip(("align.py", "plain.py", "dots.py", "spread.py"), blocks, strict=True):
        (folder / name).write_text(code)
    return folder


@pytest.fixture(scope="module")
def method(files):
    """The page's method, as `file.py:Class`."""
    return f"{files / 'align.py'}:Align"


def learn(method):
    keras.utils.set_random_seed(1)
    model = tfcontrastive.build(method, tiny_encoder(), num_classes=3, temperature=0.5)
    model.compile(optimizer=tfcontrastive.LARS(0.05))
    return fit(model, batches(3)), weights(model)


def test_it_is_trained_by_the_command_and_measured_by_its_export(method, tmp_path, capsys):
    dataset, run = write_images(tmp_path / "images.npz"), tmp_path / "run"
    command = [word for word in argv(dataset, run, method=method, temperature=0.5) if "proj_out_dim" not in word]
    assert main(command) == 0
    config = load_run(run).config
    assert (config.method, config.method_config.temperature) == (method, 0.5)
    exported, worth = f"--saved_model={run / 'saved_model'}", f"--output_dir={tmp_path / 'worth'}"
    assert main(["evaluate", "--protocol=knn", f"--dataset={dataset}", "--eval_split=train", exported, worth]) == 0
    assert main([*command, "--queue_size=8"]) == 2
    assert "It belongs to --method=moco" in capsys.readouterr().err


def test_images_of_ones_own(files):
    source = tfcontrastive.data.load(f"{files / 'dots.py'}:dots")
    assert (source.num_classes, source.num_examples("test"), source.channels) == (3, 500, 1)
    (files / "none.py").write_text("def none():\n    return 3\n")
    with pytest.raises(InputError, match=r"must return a tfcontrastive\.data\.Source\. Received: int\."):
        tfcontrastive.data.load(f"{files / 'none.py'}:none")
    with pytest.raises(InputError, match=r"`dataset` must name a function as file\.py:function"):
        tfcontrastive.data.load(f"{files / 'none.py'}:other")


def test_a_network_and_an_evaluation_of_ones_own(files, tmp_path, capsys):
    dataset, run, network = write_images(tmp_path / "images.npz"), tmp_path / "run", f"{files / 'plain.py'}:plain"
    assert main(argv(dataset, run, encoder=network)) == 0
    found = load_run(run)
    assert (found.model.num_features, found.config.encoder.encoder) == (128, network)
    worth = tmp_path / "worth"
    protocol, images = f"--protocol={files / 'spread.py'}:Spread", [f"--dataset={dataset}", "--eval_split=train"]
    line = ["evaluate", protocol, *images, f"--saved_model={run / 'saved_model'}", f"--output_dir={worth}"]
    assert main([*line, "--power=1"]) == 0
    (result,) = json.loads((worth / "metrics.json").read_text())["results"]
    assert (result["protocol"], result["settings"]["power"]) == ("Spread", 1.0)
    assert 0 < result["metrics"]["spread"] < 1
    assert "Spread" in (worth / "report.html").read_text()
    capsys.readouterr()
    assert main([*line, "--k=3"]) == 2
    assert "--k" in capsys.readouterr().err


def test_a_run_does_not_choose_a_network_to_be_run(files, tmp_path):
    dataset, run = write_images(tmp_path / "images.npz"), tmp_path / "run"
    copy = tmp_path / "other.py"
    copy.write_text((files / "plain.py").read_text())
    assert main(argv(dataset, run, encoder=f"{copy}:plain", train_steps=1)) == 0
    del sys.modules["file other.py"]
    with pytest.raises(InputError, match=r"the run's encoder, .*other\.py:plain, is code that is not run"):
        load_run(run)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.py:plain", "`encoder` must name a function as .*No such file"),
        ("json:loads", "`encoder` json:loads does not take input_shape="),
        ("builtins:dict", "`encoder` must make a keras.Model. Received: a dict"),
    ],
)
def test_what_is_no_network_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        encoder_from_name(name, (8, 8, 3))


@pytest.mark.parametrize("name", ["json:JSONDecoder", "tfcontrastive:DataConfig"])
def test_what_is_no_evaluation_is_refused(name):
    with pytest.raises(InputError, match="`protocol` must name an evaluator"):
        settings_class(name)


OWN_FIELDS = """
import dataclasses

import tfcontrastive
from tfcontrastive.config import BaseConfig, setting
from tfcontrastive.methods import SimCLR


@dataclasses.dataclass(frozen=True)
class OwnConfig(tfcontrastive.SimCLRConfig):
    momentum: float = setting(0.25, "A momentum of the method.")
    seed: int = setting(7, "A seed of the method.")


class Own(SimCLR):
    Config = OwnConfig
"""


def test_a_field_with_the_name_of_a_runs_stays_the_methods(tmp_path, capsys):
    (tmp_path / "own.py").write_text(OWN_FIELDS)
    name = f"{tmp_path / 'own.py'}:Own"
    dataset, kind = write_images(tmp_path / "images.npz"), method_class(name)
    assert main(argv(dataset, tmp_path / "run", method=name)) == 2
    assert "`momentum` must be a setting of one owner" in capsys.readouterr().err
    config = tfcontrastive.TrainConfig(
        method=name,
        method_config=kind.Config(momentum=0.125, seed=11, proj_out_dim=8),
        data=tfcontrastive.DataConfig(dataset=dataset, image_size=8),
        encoder=tfcontrastive.EncoderConfig(resnet_depth=18, width_multiplier=0.0625),
        optimizer=tfcontrastive.OptimizerConfig(momentum=0.5),
        loop=tfcontrastive.LoopConfig(model_dir=str(tmp_path / "run"), train_steps=1, seed=3, knn_epochs=0),
    )
    trained = train(config).config
    found = load_run(tmp_path / "run").config
    assert (found.method_config.momentum, found.optimizer.momentum) == (0.125, 0.5)
    assert (found.method_config.seed, found.loop.seed) == (11, 3)
    assert found == trained


def test_two_replicas_learn_what_one_does(method, two_replicas):
    losses, alone = learn(method)
    with two_replicas.scope():
        also, together = learn(method)
    np.testing.assert_allclose(also, losses, rtol=1e-5)
    for one, two in zip(alone.values(), together.values(), strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5)


def test_a_run_does_not_choose_code_to_be_run(tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match=r"is code that is not run because a config.json names it"):
        method_class(f"{tmp_path / 'evil.py'}:Method", run_code=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.py:DCL", "must name a class as .*No such file"),
        ("tests.no_such_module:DCL", "must name a class as .*No module named"),
        ("json:DCL", "has no attribute 'DCL'"),
        ("json:JSONDecoder", "must name a ContrastiveModel"),
    ],
)
def test_what_is_no_method_is_refused(name, message):
    with pytest.raises(InputError, match=message):
        method_class(name)
