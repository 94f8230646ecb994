"""The flags of `adapt`, and what is refused in one line before anything is written."""

import keras
import numpy as np
import pytest
import tensorflow_datasets as tfds

from tests.commands.runs import write_images
from tests.commands.test_bad_input import fails
from tfcontrastive.commands import adapt as command
from tfcontrastive.commands import describe_adaptation
from tfcontrastive.commands.main import main
from tfcontrastive.fitting import adapting
from tfcontrastive.pretrained.trained import Trained


@pytest.fixture
def asked(monkeypatch):
    """What a command line asks for, which is not done."""
    requests = []
    monkeypatch.setattr(command, "run_stages", lambda request, **how: requests.append(request))
    monkeypatch.setattr(command, "show", lambda result: None)
    monkeypatch.setattr(command, "show_own_messages", lambda: None)

    def of(*argv):
        assert main(["adapt", *argv]) == 0
        return requests[-1]

    return of


def test_flags_are_settings_and_the_rest_is_open(asked):
    request = asked("--checkpoint=runs/a", "--dataset=embedded", "--minutes=3", "--objective=moco", "--anchor=2")
    assert request.asked == {"checkpoint", "objective", "anchor"}
    assert (request.minutes, request.config.loop.model_dir) == (3.0, "embedded_adapted")
    assert request.config.anchor == 2.0
    assert asked("--saved_model=x", "--dataset=embedded", "--train_steps=9").minutes is None


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--dataset=embedded"], "Give one encoder to adapt"),
        (["--dataset=embedded", "--checkpoint=a", "--saved_model=b"], "Received: checkpoint and saved_model"),
        (["--checkpoint=a"], "`dataset` must be given"),
        (["--checkpoint=a", "--dataset=embedded", "--model_dir=x"], "Did you mean --output_dir"),
        (["--checkpoint=a", "--dataset=embedded", "--objective=clip"], "`objective`"),
        (["--checkpoint=a", "--dataset=embedded", "--head_only=0.6"], "`head_only` must be less than `unfreeze`"),
        (["--checkpoint=a", "--dataset=embedded", "--optimizer=lars"], "`optimizer` must be adam here"),
        (["--checkpoint=a", "--dataset=embedded", "--weight_decay=0.1"], "`weight_decay` must be 0.0 here"),
        (["--checkpoint=a", "--dataset=embedded", "--restore_step=3"], "`restore_step` must be left out"),
        (["--checkpoint=a", "--dataset=embedded", "--train_split=train[:9]"], "`train_split` must be train"),
        (["--checkpoint=a", "--dataset=embedded", "--minutes=0"], "`minutes` must be > 0"),
    ],
)
def test_what_is_not_understood_is_one_line(argv, said, capsys):
    assert main(["adapt", *argv]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["nothing", "foreign", "truncated"])
def test_a_file_that_is_no_encoder_is_one_line(kind, tmp_path, capsys):
    images = write_images(tmp_path / "few.npz", count=16)
    file = tmp_path / "weights.safetensors"
    if kind == "foreign":
        file.write_bytes(b"no weights at all")
    elif kind == "truncated":
        file.write_bytes((1 << 20).to_bytes(8, "little") + b'{"a": {"dtype": "F32", "shape": [2')
    out = tmp_path / "out"
    assert main(["adapt", f"--checkpoint={file}", f"--dataset={images}", f"--output_dir={out}"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]
    assert len(lines) == 1
    assert not out.exists()
    assert np.load(tmp_path / "few.npz")["images"].shape == (16, 8, 8, 3)


@pytest.fixture
def given(monkeypatch):
    """Whatever encoder is asked for is this small one, of 2 x 64 x 4 + 4 weights."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(4)])
    found = Trained(network, None, None, 8, 3, "a small encoder", facts={"licence": "CC BY-NC 4.0"})
    for module in (adapting, describe_adaptation):
        monkeypatch.setattr(module, "load_trained", lambda **how: found)


def words(images, out, *more):
    return ["adapt", "--checkpoint=given", f"--dataset={images}", f"--output_dir={out}", *more]


def test_a_dry_run_tells_the_parts_and_the_length_and_writes_nothing(given, tmp_path, monkeypatch, capsys):
    images, out = write_images(tmp_path / "some.npz", count=80), tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    assert main([*words(images, out, "--train_steps=12", "--train_batch_size=16"), "--dry_run"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "objective=simclr", f"Held out: 16 of 80 images, about 20% of each class, those that are alike on one side; nothing "
        f"is tuned on them; listed in {out}/held_out.json.", "To choose by: 16 images, by their labels; learned from: 48.",
        "a small encoder, 772 parameters", "licence         CC BY-NC 4.0", "48 training images", "measured on     held_out",
        "steps           12 (3 an epoch), warm-up", "learning rate   0: ", "memory          about",
    ):  # fmt: skip
        assert part in shown
    assert main([*words(images, out, "--minutes=3"), "--dry_run"]) == 0
    assert "as many as fit into 3 minutes" in capsys.readouterr().out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["some.npz"]


@pytest.mark.parametrize("dry", [True, False], ids=["dry", "run"])
@pytest.mark.parametrize(
    ("count", "channels", "more", "said"),
    [
        (16, 3, [], "`dataset` must have more images"),
        (80, 1, [], "`dataset` must have images of 3 channels"),
        (80, 3, ["--train_batch_size=90"], "`train_batch_size`"),
        (80, 3, ["--output_dir=."], "`output_dir` must be new, empty or of the same command"),
    ],
    ids=["few images", "other channels", "large batch", "other files"],
)
def test_what_a_run_refuses_a_dry_run_refuses(given, tmp_path, monkeypatch, capsys, dry, count, channels, more, said):
    images = write_images(tmp_path / "some.npz", count=count, channels=channels)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(adapting.Adapting, "measure_frozen", lambda self, scene: [])
    fails(capsys, [*words(images, "out", "--train_steps=2", *more), *(["--dry_run"] if dry else [])], said)
    if dry:
        assert sorted(path.name for path in tmp_path.iterdir()) == ["some.npz"]


def test_a_dry_run_fetches_no_images(given, tmp_path, monkeypatch, capsys):
    def download(*_, **__):
        raise AssertionError("a dry run has fetched data")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download)
    assert main([*words("cifar10", tmp_path / "out", f"--data_dir={tmp_path / 'tfds'}"), "--dry_run"]) == 0
    assert "cifar10: not on this machine" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
