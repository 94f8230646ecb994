"""The flags of `adapt`, and what is refused in one line before anything is written."""

import numpy as np
import pytest

from tests.commands.runs import write_images
from tfcontrastive.commands import adapt as command
from tfcontrastive.commands.main import main


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
