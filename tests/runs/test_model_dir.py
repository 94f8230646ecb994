"""A run's directory: claimed, refused, moved aside, never half-written."""

import json
import os
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tfcontrastive.config import InputError, LoopConfig, OptimizerConfig, TrainConfig, differences
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.data import ImageSpec
from tfcontrastive.runs.model_dir import ModelDir

IMAGES = ImageSpec(3, 10)


def test_the_config_of_another_version_is_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"tfcontrastive": "0.1.0", "method": "simclr", "learning_rate": 0.3}')
    with pytest.raises(InputError, match=r"config\.json must be of format 2\. Received: .*, of format None"):
        ModelDir(str(tmp_path)).read_config()


def test_a_run_of_another_kind_is_not_gone_on_with(tmp_path):
    ModelDir(str(tmp_path)).claim(TrainConfig(), IMAGES)
    with pytest.raises(InputError, match=r"a run of finetune\. Received: one of pretrain"):
        ModelDir(str(tmp_path)).claim(FinetuneConfig(), IMAGES)


def test_a_new_directory_holds_the_config(tmp_path):
    directory = ModelDir(str(tmp_path / "run"))
    directory.claim(TrainConfig(), IMAGES)
    assert directory.read_config()["optimizer"]["learning_rate"] == 0.3


def test_the_same_config_claims_it_again(tmp_path):
    directory = ModelDir(str(tmp_path / "run"))
    for _ in range(2):
        directory.claim(TrainConfig(loop=LoopConfig(train_batch_size=2)), IMAGES)
    assert directory.read_config()["loop"]["train_batch_size"] == 2


def test_another_config_is_refused_with_the_difference(tmp_path):
    directory = ModelDir(str(tmp_path / "run"))
    directory.claim(TrainConfig(), IMAGES)
    with pytest.raises(InputError, match=r"weight_decay: 1e-06 there, 0.5 now.*--allow_config_change"):
        directory.claim(TrainConfig(optimizer=OptimizerConfig(weight_decay=0.5)), IMAGES)
    assert directory.read_config()["optimizer"]["weight_decay"] == 1e-6


def test_a_change_may_be_allowed(tmp_path):
    directory = ModelDir(str(tmp_path / "run"))
    directory.claim(TrainConfig(), IMAGES)
    changed = TrainConfig(optimizer=OptimizerConfig(weight_decay=0.5))
    directory.claim(changed, IMAGES, allow_config_change=True)
    assert directory.read_config()["optimizer"]["weight_decay"] == 1e-6  # until the checkpoint turns out to fit
    directory.record(changed, IMAGES)
    assert directory.read_config()["optimizer"]["weight_decay"] == 0.5


def test_a_directory_whose_claim_was_cut_short_is_claimed_again(tmp_path):
    (tmp_path / "config.json.tmp").write_text("{")
    ModelDir(str(tmp_path)).claim(TrainConfig(), IMAGES)
    assert os.listdir(tmp_path) == ["config.json"]


def test_what_killed_processes_left_is_swept_and_what_live_ones_write_is_not(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    directory = ModelDir(str(tmp_path))
    left = ["config.json.tmp", "metrics.jsonl.tmp", ".probe.tmp"]
    for name in (*left, "thesis.tmp"):
        (tmp_path / name).write_text("half")
    for name in (f".1.{dead.pid}.tmp", f".2.{os.getpid()}.tmp", ".3.mine.tmp", "1"):
        (tmp_path / "saved_model" / name / "variables").mkdir(parents=True)
    directory.sweep()
    assert set(os.listdir(tmp_path / "saved_model")) == {f".2.{os.getpid()}.tmp", ".3.mine.tmp", "1"}
    assert sorted(os.listdir(tmp_path)) == ["saved_model", "thesis.tmp"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10**6), bit=st.none() | st.integers(0, 7))
def test_a_config_with_any_bit_flipped_or_cut_anywhere_is_told_of_or_the_same(tmp_path, place, bit):
    directory = ModelDir(str(tmp_path))
    directory.record(TrainConfig(), IMAGES)
    content = bytearray((tmp_path / "config.json").read_bytes())
    place %= len(content)
    if bit is None:
        content = content[:place]
    else:
        content[place] ^= 1 << bit
    (tmp_path / "config.json").write_bytes(content)
    try:
        directory.claim(TrainConfig(), IMAGES)
    except InputError:
        return
    assert not differences(directory.read_config(), TrainConfig())


@pytest.mark.parametrize("content", ["[1]", "3", "", "{", '"a"'])
def test_a_config_that_is_none_is_told_of(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=r"must hold a run's config\.json"):
        ModelDir(str(tmp_path)).claim(TrainConfig(), IMAGES)


def test_overwrite_moves_the_old_run_aside(tmp_path):
    directory = ModelDir(str(tmp_path / "run"))
    directory.claim(TrainConfig(), IMAGES)
    for _ in range(2):
        directory.claim(TrainConfig(optimizer=OptimizerConfig(weight_decay=0.5)), IMAGES, overwrite=True)
    assert sorted(os.listdir(tmp_path)) == ["run", "run.1", "run.2"]
    assert json.loads((tmp_path / "run.1" / "config.json").read_text())["optimizer"]["weight_decay"] == 1e-6


def test_a_directory_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="which holds other files"):
        ModelDir(str(tmp_path)).claim(TrainConfig(), IMAGES)


def test_a_directory_that_cannot_be_moved_aside_is_refused(tmp_path, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    directory = ModelDir(str(tmp_path / "run"))
    directory.claim(TrainConfig(), IMAGES)
    monkeypatch.setattr(os, "rename", denied)
    with pytest.raises(InputError, match=r"must be a directory that can be written to.*Permission denied"):
        directory.claim(TrainConfig(), IMAGES, overwrite=True)


def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be a directory that can be written to"):
        ModelDir(str(tmp_path / "file" / "run")).claim(TrainConfig(), IMAGES)
