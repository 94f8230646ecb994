"""Which artefact and setting is the fastest, and the files that a server gets of it."""

import json
import re
import shutil

import pytest

from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.export import Speed, benchmark, benchmark_export
from tfcontrastive.export.serving_files import write_serving_files


def test_candidates_are_the_settings_and_the_files(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark.os, "cpu_count", lambda: 2)
    for name in ("encoder.onnx", "encoder.tflite"):
        (tmp_path / name).touch()
    found = benchmark._candidates("exported/1", [str(tmp_path / "encoder.onnx"), str(tmp_path / "encoder.tflite")])
    assert [(each.artefact, each.setting) for each in found] == [
        ("saved_model", "oneDNN off"),
        ("saved_model", "oneDNN on"),
        ("saved_model", "oneDNN off, one thread"),
        ("saved_model", "oneDNN on, one thread"),
        ("saved_model", "XLA"),
        ("onnx", "encoder.onnx"),
        ("tflite", "encoder.tflite"),
    ]
    for wrong in ("encoder.pb", "missing.onnx"):
        with pytest.raises(InputError, match=r"`files` must be .onnx or .tflite files"):
            benchmark._candidates("exported/1", [wrong])


def test_a_real_run_is_timed_and_a_broken_file_is_told_of(exported, tmp_path, monkeypatch):
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    chosen = benchmark._candidates(str(exported), [str(tmp_path / "broken.onnx")])
    monkeypatch.setattr(benchmark, "_candidates", lambda *_: [chosen[1], chosen[-1]])
    on, broken = benchmark_export(exported, batch_size=3, seconds=0.5)
    assert (on.setting, on.environment) == ("oneDNN on", {"TF_ENABLE_ONEDNN_OPTS": "1"})
    assert on.images_per_second > 0
    assert on.similarity == pytest.approx(1.0)
    assert broken.images_per_second is None
    assert "INVALID" in broken.problem.upper()


SPEEDS = [
    Speed("onnx", "encoder.onnx", {}, 20.0, 1.0),
    Speed("saved_model", "XLA", {"TF_ENABLE_ONEDNN_OPTS": "0"}, 15.0, 1.0),
    Speed("saved_model", "oneDNN off", {"TF_ENABLE_ONEDNN_OPTS": "0"}, 12.0, 1.0),
    Speed("saved_model", "oneDNN on", {"TF_ENABLE_ONEDNN_OPTS": "1"}, 5.0, 1.0),
]


def test_the_compose_file_and_the_readme_have_the_fastest_that_a_server_can_have(exported, tmp_path):
    version = tmp_path / "base" / "1"
    shutil.copytree(exported, version)
    before = (version / "README.md").read_text()
    for number in range(2):  # a second measurement takes the place of the first
        write_serving_files(tmp_path / f"serving{number}", str(version), SPEEDS, batch_size=4, machine="an abacus")
    compose = (tmp_path / "serving1" / "docker-compose.yml").read_text()
    assert re.search(r'# 12 images/s at batch 4 on an abacus: oneDNN off\n +TF_ENABLE_ONEDNN_OPTS: "0"\n', compose)
    assert (tmp_path / "serving1" / "batching.config").exists()
    readme = (version / "README.md").read_text()
    assert readme.startswith(before)
    assert readme.count("## Speed") == 1
    assert "| ONNX Runtime | encoder.onnx | 20 |" in readme
    with pytest.raises(InputError, match=r"`compose` must be a directory without docker-compose\.yml"):
        write_serving_files(tmp_path / "serving1", str(version), SPEEDS, batch_size=4, machine="an abacus")


def test_the_command_shows_the_fastest_first(exported, tmp_path, monkeypatch, capsys):
    base = tmp_path / "base"
    shutil.copytree(exported, base / "1")
    monkeypatch.setattr("tfcontrastive.export.benchmark.benchmark_export", lambda *_, **__: SPEEDS)
    assert main(["serve-check", str(base), "--benchmark", f"--compose={tmp_path / 'serving'}"]) == 0
    shown = capsys.readouterr().out
    assert "the fastest: ONNX Runtime, encoder.onnx" in shown
    assert "TensorFlow Serving with oneDNN off" in shown
    assert (tmp_path / "serving" / "models.config").exists()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batch_size=4"], "`batch_size` must be given with --benchmark"),
        (["--benchmark", "--server=localhost:8500"], "`server` must be left out with --benchmark"),
        (["--benchmark", "--batch_size=0"], "`batch_size` must be >= 1"),
        (["--benchmark", "--seconds=-1"], "`seconds` must be above 0"),
        (["encoder.onnx"], "`BASE` must be one export"),
    ],
)
def test_bad_flags_are_one_line(exported, capsys, argv, message):
    assert main(["serve-check", str(exported), *argv]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_model_of_others_is_refused(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").touch()
    (tmp_path / "1" / "model_card.json").write_text(json.dumps({}))
    with pytest.raises(InputError, match="must be written by tfcontrastive"):
        benchmark_export(tmp_path)
