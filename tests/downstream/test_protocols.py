"""The protocols that fine-tune, through `tfcontrastive evaluate`."""

import json

import numpy as np
import pytest
from PIL import Image

from tests.downstream.test_finetune import fails
from tfcontrastive import data
from tfcontrastive.commands.main import main
from tfcontrastive.config.protocols.transfer import FINETUNE
from tfcontrastive.pretrained.trained import load_trained
from tfcontrastive.protocols import Curve, Semi, Transfer
from tfcontrastive.protocols.tasks import TASKS


def argv(protocol, **flags):
    return ["evaluate", f"--protocol={protocol}", *(f"--{name}={value}" for name, value in flags.items())]


@pytest.fixture
def calls(monkeypatch):
    """What each fine-tuning was asked for, in place of doing it."""
    made = []

    def accuracies(self, trained, source, name, **options):
        made.append({"name": name, "source": source.name, **options})
        return {f"{name}_top1": 0.5}

    monkeypatch.setattr("tfcontrastive.protocols.tuning_evaluator.TuningEvaluator.accuracies", accuracies)
    return made


def test_the_curve_is_measured_drawn_and_goes_on_after_a_stop(tmp_path, dataset, pretrained):
    flags = {"checkpoint": pretrained, "dataset": dataset, "output_dir": tmp_path / "out", "fractions": 0.5}
    flags |= {"train_epochs": 1, "supervised_epochs": 1, "train_batch_size": 16}
    assert main(argv("curve", **flags)) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"][0]
    assert {"fine_tuned_50pct_top1", "supervised_50pct_top1", "supervised_50pct_top1_low"} <= set(result["metrics"])
    assert "work_dir" not in result["settings"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert "labels used" in page
    assert "the same network from scratch" in page
    rows = [
        json.loads((tmp_path / "out.runs" / f"{name}_50pct_seed0" / "label_subset.json").read_text())["rows"]
        for name in ("fine_tuned", "supervised")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 48
    before = (tmp_path / "out.runs" / "supervised_50pct_seed0" / "metrics.jsonl").read_text()
    assert main(argv("curve", **flags)) == 0  # finds its runs finished
    again = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"][0]
    assert again["metrics"] == result["metrics"]
    assert (tmp_path / "out.runs" / "supervised_50pct_seed0" / "metrics.jsonl").read_text() == before


def test_other_settings_have_runs_of_their_own(tmp_path, dataset, pretrained):
    flags = {"checkpoint": pretrained, "dataset": dataset, "output_dir": tmp_path / "out", "fractions": 0.5}
    for rate in (0.1, 0.2, 0.1):
        assert main(argv("semi", **flags, train_epochs=1, train_batch_size=48, learning_rate=rate)) == 0
    results = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"]
    assert [one["settings"]["learning_rate"] for one in results] == [0.2, 0.1]
    runs = {path.name: json.loads((path / "config.json").read_text()) for path in (tmp_path / "out.runs").iterdir()}
    assert {name: run["optimizer"]["learning_rate"] for name, run in runs.items()} == {
        "semi_50pct_seed0": 0.1,
        "semi_50pct_seed0.1": 0.2,
    }


def test_semi_takes_the_published_epochs(calls, pretrained):
    Semi(fractions="0.01,0.1,1").run(load_trained(checkpoint=pretrained), data.load("embedded"))
    told = [(call["name"], call["fraction"], call["train_epochs"]) for call in calls]
    assert told == [("semi_1pct", 0.01, 60), ("semi_10pct", 0.1, 30), ("semi_100pct", None, 30)]


def test_semi_takes_the_published_labels_of_imagenet_where_they_are(calls, pretrained, monkeypatch):
    class ImageNet:
        name = "imagenet2012:5.1.0"

    class Few:
        name = "imagenet2012_subset/1pct"

    def load(spec, *, data_dir):
        assert data_dir == "prepared"
        if spec == Few.name:
            return Few()
        raise data.sources.InputError("`dataset` is not prepared.")

    monkeypatch.setattr(data, "load", load)
    Semi(data_dir="prepared").run(load_trained(checkpoint=pretrained), ImageNet())
    assert [(call["source"], call["fraction"]) for call in calls] == [(Few.name, None), (ImageNet.name, 0.1)]


def test_several_seeds_are_several_choices_of_labels(calls, tmp_path, dataset, pretrained):
    flags = {"checkpoint": pretrained, "dataset": dataset, "output_dir": tmp_path / "out", "seeds": "0,1"}
    assert main(argv("semi", **flags)) == 0
    result = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"][0]
    assert set(result["runs"]) == {"0", "1"}
    assert result["metrics"]["semi_1pct_top1"] == 0.5
    assert result["deviations"]["semi_1pct_top1"] == 0


def test_transfer_measures_what_is_there_and_names_what_is_not(tmp_path, pretrained, capsys):
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for number, name in enumerate(("jay", "owl")):
            folder = tmp_path / "data" / "birdsnap" / split / name
            folder.mkdir(parents=True)
            for image in range(10):
                pixels = rng.integers(0, 100, (8, 8, 3), dtype=np.uint8) + np.uint8(150 * number)
                Image.fromarray(pixels).save(folder / f"{image}.png")
    flags = {"checkpoint": pretrained, "output_dir": tmp_path / "out", "data_dir": tmp_path / "data"}
    flags |= {"datasets": "birdsnap,cars", "how": "both", "train_steps": 2, "train_batch_size": 8}
    flags |= {"learning_rates": "0.01", "weight_decays": "0"}
    assert main(argv("transfer", **flags)) == 0
    assert "cars (cars196)" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())["results"][0]["metrics"]
    assert metrics["birdsnap_linear_top1"] == 1.0
    assert metrics["birdsnap_linear_top1_low"] == pytest.approx(0.832, abs=0.001)  # 20 of 20
    assert set(metrics) == {f"birdsnap_linear_top1{end}" for end in ("", "_low", "_high")} | {"birdsnap_finetuned_top1"}


def test_transfer_chooses_rate_and_decay_on_held_out_training_images(calls, monkeypatch, pretrained):
    source = data.load("embedded")
    asked = []

    def one(self, encoder, source, run, train, test, task, pair, parts):
        asked.append((train, test, pair))
        return 0.9 if pair == (0.1, 1e-4) else 0.1

    monkeypatch.setattr(Transfer, "one", one)
    transfer = Transfer(learning_rates="0.01,0.1", weight_decays="0,1e-4")
    value = transfer.tuned(None, source, "cifar10", TASKS["cifar10"])
    assert value == {"cifar10_finetuned_top1": 0.9}
    assert asked[-1] == ("train", "test", (0.1, 1e-4))
    assert [part[:2] for part in asked[:-1]] == [("kept", "held_out")] * 4
    held, kept = transfer.held_out(source, TASKS["cifar10"])
    assert len(held) == 2000
    assert sorted([*held, *kept]) == list(range(10_000))


def test_the_tables_are_the_papers():
    assert len(TASKS) == 12
    metrics = {name: task.metric for name, task in TASKS.items() if task.metric != "top1"}
    unbalanced = dict.fromkeys(("aircraft", "pets", "caltech101", "flowers"), "mean_per_class")
    assert metrics == {"voc2007": "map", **unbalanced}
    np.testing.assert_allclose(FINETUNE["learning_rates"], np.logspace(-4, -1, 7))
    np.testing.assert_allclose(FINETUNE["weight_decays"], [0, *np.logspace(-6, -3, 7)])


@pytest.mark.parametrize(
    ("protocol", "flags", "parts"),
    [
        ("semi", {"fractions": "0.1,ten"}, ["`fractions` must be numbers", "ten"]),
        ("semi", {"fractions": "0.1,2"}, ["`fractions` must be different numbers in (0, 1]"]),
        ("curve", {"supervised_epochs": 0}, ["`supervised_epochs` must be >= 1"]),
        ("transfer", {"datasets": "cifar11"}, ["`datasets` must be one of", "cifar10"]),
        (
            "transfer",
            {"datasets": "birdsnap", "data_dir": "/no"},
            ["`datasets` must name one that is prepared", "birdsnap"],
        ),
    ],
)
def test_a_wrong_flag(capsys, tmp_path, dataset, pretrained, protocol, flags, parts):
    flags = {"checkpoint": pretrained, "output_dir": tmp_path / "out", **flags}
    fails(capsys, argv(protocol, **({} if protocol == "transfer" else {"dataset": dataset}), **flags), *parts)


def test_python_needs_no_directory(calls, pretrained):
    assert Curve(fractions="0.1").run(load_trained(checkpoint=pretrained), data.load("embedded")) == {
        "fine_tuned_10pct_top1": 0.5,
        "supervised_10pct_top1": 0.5,
    }
