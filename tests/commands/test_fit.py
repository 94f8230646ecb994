"""The flags of `fit`: those of its own, those of `train`, and what is refused."""

import pytest

from tests.fitting.folders import write
from tfcontrastive.commands import fit as command
from tfcontrastive.commands.main import main


@pytest.fixture
def asked(monkeypatch):
    """What a command line asks for, which is not done."""
    requests = []
    monkeypatch.setattr(command, "run_stages", lambda request, **how: requests.append((request, how)))
    monkeypatch.setattr(command, "show", lambda result: None)
    monkeypatch.setattr(command, "show_own_messages", lambda: None)

    def of(*argv):
        assert main(["fit", *argv]) == 0
        return requests[-1]

    return of


def test_flags_of_train_are_settings_and_the_rest_is_open(asked):
    request, how = asked(
        "embedded", "--minutes=3", "--output_dir=out", "--keep_color", "--image_size=20", "--overwrite"
    )
    assert request.asked == {"keep_color", "image_size"}
    assert (request.minutes, request.config.loop.model_dir, how["overwrite"]) == (3.0, "out", True)
    assert request.config.augmentation.keep_color


def test_a_recipe_is_asked_for_as_its_flags_are(asked):
    request, _ = asked("embedded", "--recipe=embedded_moco_v2")
    assert {"method", "queue_size", "train_batch_size"} <= request.asked
    assert request.config.method == "moco"


def test_a_length_needs_no_minutes(asked):
    assert asked("embedded", "--train_epochs=2")[0].minutes is None
    assert asked("embedded", "--train_epochs=2", "--minutes=5")[0].minutes == 5
    assert asked("embedded")[0].minutes == 20


def test_the_length_of_a_recipe_yields_to_the_minutes(asked):
    request = asked("embedded", "--recipe=embedded_moco_v2", "--minutes=5")[0]
    assert (request.minutes, request.asked & {"train_epochs", "train_steps"}) == (5, set())
    assert asked("embedded", "--recipe=embedded_moco_v2")[0].minutes is None
    request = asked("embedded", "--recipe=record_5min")[0]  # its minutes are of the training alone
    assert (request.minutes, request.config.loop.train_minutes) == (20, 0)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["embedded", "--model_dir=x"], "Did you mean --output_dir"),
        (["--dataset=embedded"], "Did you mean WHAT"),
        (["embedded", "more"], "Received: 2 of them"),
        (["embedded", "--minutes=0"], "`minutes` must be > 0"),
        (["embedded", "--epochs=3"], "Did you mean --train_epochs"),
    ],
)
def test_what_is_not_understood_is_one_line(argv, said, capsys):
    assert main(["fit", *argv]) == 2
    assert said in capsys.readouterr().err


def test_a_dry_run_says_what_would_be_decided_and_writes_nothing(tmp_path, monkeypatch, capsys):
    write(tmp_path / "photos", 40)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", "photos", "--dry_run", "--image_size=16", "--mixed_precision=float32"]) == 0
    out = capsys.readouterr().out
    assert "40 images in folder:photos: train 40." in out
    assert "--train_batch_size=16" in out
    assert "--image_size" not in out  # it was asked for
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]
