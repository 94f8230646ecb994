"""What may be asked for, and what is refused in one line before anything is written."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fitting.folders import write
from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.fitting.clock import Clock
from tfcontrastive.fitting.memo import Decided, Memo
from tfcontrastive.fitting.request import dataset_of, make_request


def test_a_folder_and_an_npz_file_need_no_prefix(tmp_path):
    np.savez(tmp_path / "few.npz", images=np.zeros([2, 8, 8], np.uint8))
    assert dataset_of(str(tmp_path)) == f"folder:{tmp_path}"
    assert dataset_of(str(tmp_path / "few.npz")) == f"npz:{tmp_path / 'few.npz'}"
    assert dataset_of("cifar10") == "cifar10"


def test_settings_are_those_of_train_and_of_the_method():
    request = make_request("embedded", minutes=1, output_dir="x", method="moco", queue_size=64, image_size=20)
    assert request.config.method_config.queue_size == 64
    assert request.asked == {"method", "queue_size", "image_size"}
    with pytest.raises(InputError, match=r"a setting of `fit`.*'image_siz'.*Did you mean 'image_size'"):
        make_request("embedded", minutes=1, output_dir="x", image_siz=20)


def test_minutes_that_were_too_few_are_asked_for_anew_and_others_stay(tmp_path):
    memo = Memo(str(tmp_path / "out"))
    few, more = (make_request("embedded", minutes=one, output_dir=tmp_path / "out") for one in (0.2, 5))
    memo.claim(few)
    (tmp_path / "out" / "clock.json").write_text('{"seconds": 40.0}')
    assert memo.claim(more).minutes == 5
    assert Clock(5, str(tmp_path / "out" / "clock.json")).before == 0
    memo.keep(more, Decided(more.config, []))
    assert memo.claim(few).minutes == 5


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_minutes_are_more_than_none(minutes):
    with pytest.raises(InputError, match="`minutes` must be > 0"):
        make_request("embedded", minutes=minutes, output_dir="x")


def test_an_output_among_the_images_is_refused(tmp_path):
    write(tmp_path / "photos", 4)
    with pytest.raises(InputError, match="`output_dir` must lie outside"):
        make_request(tmp_path / "photos", minutes=1, output_dir=tmp_path / "photos" / "out")


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=30).filter(lambda text: "\0" not in text))
def test_any_name_is_a_data_set_or_refused(name):
    try:
        found = dataset_of(name)
    except InputError as error:
        found = str(error)
    assert found is not None


def said(capsys, *argv) -> str:
    """The one line of a command that ends with code 2."""
    assert main(["fit", *map(str, argv)]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]
    assert len(lines) == 1
    return lines[0]


def test_an_empty_folder_a_file_and_nothing(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    out = f"--output_dir={tmp_path / 'out'}"
    assert "must hold images" in said(capsys, tmp_path / "empty", out)
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"\xff\xd8\xff")
    assert "which is a file. Give the folder" in said(capsys, path, out)
    assert "which does not exist" in said(capsys, tmp_path / "none", out)
    assert "Received: 0 of them" in said(capsys, out)
    assert not (tmp_path / "out").exists()


def test_one_image_is_one_line(tmp_path, capsys):
    write(tmp_path / "photos", 1)
    assert "at least two images" in said(capsys, tmp_path / "photos", f"--output_dir={tmp_path / 'out'}")
    assert not (tmp_path / "out").exists()


def test_an_output_that_is_a_file_or_of_something_else(tmp_path, capsys):
    write(tmp_path / "photos", 8)
    (tmp_path / "file").write_text("mine")
    assert "`output_dir` must be a directory that can be written to" in said(
        capsys, tmp_path / "photos", f"--output_dir={tmp_path / 'file' / 'out'}"
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    assert "which holds other files" in said(capsys, tmp_path / "photos", f"--output_dir={tmp_path / 'full'}")
    assert (tmp_path / "full" / "mine.txt").read_text() == "mine"


def test_other_settings_in_the_same_place_are_refused_by_name(tmp_path, capsys):
    write(tmp_path / "photos", 4)
    out = f"--output_dir={tmp_path / 'out'}"
    before = make_request(tmp_path / "photos", minutes=20, output_dir=tmp_path / "out", image_size=16)
    Memo(str(tmp_path / "out")).claim(before)
    assert "was made with image_size=16. Received: image_size=8" in said(
        capsys, tmp_path / "photos", out, "--image_size=8"
    )
