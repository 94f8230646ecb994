"""What is fastest here: every artefact and setting in a process of its own, one line of advice, files for a server."""

import os
import pathlib
import re
import shutil
import sys

import numpy as np
import onnx
import pytest

from tfcontrastive.commands.main import main
from tfcontrastive.config import InputError
from tfcontrastive.export import benchmark, benchmark_export
from tfcontrastive.export.benchmark import ONEDNN, THREADS, Timing, advice
from tfcontrastive.export.serving_files import write_serving_files

SLOW = Timing("SavedModel", {ONEDNN: "0"}, 90.0, 11.0, 1.0)
FAST = Timing("SavedModel", {ONEDNN: "1", THREADS: "1"}, 100.0, 10.0, 1.0)
ONNX = Timing("ONNX encoder.onnx", {}, 102.0, 9.8, 1.0)
FAILED = Timing("LiteRT encoder.tflite", {}, error="ValueError: no")


@pytest.fixture
def few(monkeypatch):
    """One setting of the SavedModel: each process of TensorFlow takes seconds to start."""
    rows = benchmark._rows

    def first(path):
        found = rows(path)
        return [
            row
            for row in found
            if row[3].get(ONEDNN) != "0" and "1" not in (row[3].get(THREADS), row[3].get("threads"))
        ]

    monkeypatch.setattr(benchmark, "_rows", first)


def mean_color(width):
    """A file of ONNX: `[B, H, W, 3]` -> `[B, width]`."""
    weights = onnx.numpy_helper.from_array(np.ones([3, width], np.float32), "weights")
    nodes = [
        onnx.helper.make_node("ReduceMean", ["images"], ["means"], axes=[1, 2], keepdims=0),
        onnx.helper.make_node("MatMul", ["means", "weights"], ["embedding"]),
    ]
    images = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, [None, None, None, 3])
    vectors = onnx.helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, [None, width])
    graph = onnx.helper.make_graph(nodes, "mean_color", [images], [vectors], [weights])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_what_lies_beside_an_export_is_timed_and_compared(few, exported, tmp_path, capsys):
    shutil.copytree(exported, tmp_path / "1")
    for name, width in (("encoder", 6), ("other", 5)):
        (tmp_path / f"{name}.onnx").write_bytes(mean_color(width))
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    arguments = ["serve-check", str(tmp_path), "--benchmark", "--batch_size=3", "--seconds=0.5", "--write"]
    assert main(arguments) == 0
    told = capsys.readouterr().out
    assert re.search(r"ONNX encoder\.onnx .*all cores .* -?0\.\d{4} ", told)
    assert "not timed: ONNX other.onnx, all cores: its vectors have 5 numbers, the SavedModel's 6: it is" in told
    assert re.search(r"SavedModel .*oneDNN on, all cores .* 1\.0000 ", told)
    assert "not timed: ONNX broken.onnx, all cores: InvalidProtobuf" in told
    assert re.search(r"For batches of 3, take .* images/s here\.", told)
    compose = (tmp_path / "serving" / "docker-compose.yml").read_text()
    assert '"${TF_ENABLE_ONEDNN_OPTS:-1}"' in compose
    assert "${EXPORT_DIR:-..}" in compose
    assert (tmp_path / "1" / "README.md").read_text().count("## Measured") == 1
    assert not list(pathlib.Path(tmp_path).rglob("*.tmp"))


def test_each_setting_has_a_process_that_reads_it(exported, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    rows = [settings for artefact, *_, settings in benchmark._rows(exported)]
    assert rows == [{ONEDNN: "0"}, {ONEDNN: "0", THREADS: "1"}, {ONEDNN: "1"}, {ONEDNN: "1", THREADS: "1"}]
    seen = "import os, sys; print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'), os.environ.get('TF_NUM_INTRAOP_THREADS'))"
    monkeypatch.setenv(ONEDNN, "1")

    def started(command, **options):
        return popen([sys.executable, "-c", seen], **options)

    popen = benchmark.subprocess.Popen
    monkeypatch.setattr(benchmark.subprocess, "Popen", started)
    for settings, expected in (({ONEDNN: "0"}, "0 0"), ({}, "None 0"), ({"threads": "1"}, "None 1")):
        worker = benchmark._Worker("", "onnx", "", settings, (1, 4, 4, 3))
        assert worker._lines.get(timeout=60).strip() == expected
        worker.close()


def test_one_that_gives_no_answer_does_not_hold_the_others(monkeypatch, tmp_path):
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(600)")
    (tmp_path / "dies.py").write_text("raise SystemExit(7)")
    monkeypatch.setattr(benchmark, "_START", 0.2)
    for name, said in (("sleeps", "no answer in 0 s"), ("dies", "it ended with code 7")):
        monkeypatch.setattr(benchmark, "_WORKER", str(tmp_path / f"{name}.py"))
        monkeypatch.setattr(benchmark, "_START", 0.2 if name == "sleeps" else 60.0)
        worker = benchmark._Worker("SavedModel", "saved_model", "", {}, (1, 4, 4, 3))
        worker.start()
        assert worker.timing(np.ones(3)) == Timing("SavedModel", {}, error=said)
        worker.close()
        assert worker._process.returncode is not None


def test_advice_prefers_what_is_already_there_where_little_is_gained():
    assert advice([ONNX, FAST, SLOW, FAILED], 4) == (
        "For batches of 4, take SavedModel with TF_ENABLE_ONEDNN_OPTS=1 TF_NUM_INTRAOP_THREADS=1: 100 images/s here."
    )
    faster = Timing("ONNX encoder.onnx", {}, 120.0, 8.0, 1.0)
    assert advice([faster, FAST], 1) == "For batches of 1, take ONNX encoder.onnx: 120 images/s here."
    assert "Nothing answered" in advice([FAILED], 1)


def test_the_files_of_a_server_say_what_was_fastest_and_replace_nobodys(exported, tmp_path):
    shutil.copytree(exported, tmp_path / "1")
    for _ in range(2):  # it writes them again
        path = write_serving_files(tmp_path, [ONNX, FAST, SLOW, FAILED], 4)
    compose = pathlib.Path(path).read_text()
    assert 'TF_ENABLE_ONEDNN_OPTS: "${TF_ENABLE_ONEDNN_OPTS:-1}"' in compose
    assert 'TF_NUM_INTRAOP_THREADS: "${TF_NUM_INTRAOP_THREADS:-1}"' in compose
    readme = (tmp_path / "1" / "README.md").read_text()
    assert readme.startswith(pathlib.Path(exported, "README.md").read_text())
    assert readme.count("| SavedModel | `TF_ENABLE_ONEDNN_OPTS=1` `TF_NUM_INTRAOP_THREADS=1` | 100 |") == 1
    assert "LiteRT" not in readme
    pathlib.Path(path).write_text("services: {}\n")
    with pytest.raises(InputError, match=r"`write` must not replace files of your own.*docker-compose\.yml"):
        write_serving_files(tmp_path, [FAST], 1)
    assert pathlib.Path(path).read_text() == "services: {}\n"
    with pytest.raises(InputError, match="needs a SavedModel that could be timed"):
        write_serving_files(tmp_path, [ONNX, FAILED], 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch_size=3"], "`batch_size` must be left out without --benchmark"),
        (["--benchmark", "--server=localhost:1"], "`server` must be left out with --benchmark"),
        (["--benchmark", "--batch_size=0"], "`batch_size` must be >= 1"),
        (["--benchmark", "--seconds=0"], "`seconds` > 0"),
    ],
)
def test_mistakes_are_one_line(exported, capsys, arguments, message):
    assert main(["serve-check", str(exported), *arguments]) == 2
    told = capsys.readouterr().err.strip()
    assert message in told
    assert len(told.splitlines()) == 1


def test_a_size_that_the_model_does_not_take(make_encoder, tmp_path):
    from tfcontrastive.export import save_model

    save_model(make_encoder((16, 16, 3)), tmp_path)
    with pytest.raises(InputError, match="`image_size` must be what the model takes, 16 x 16"):
        benchmark_export(tmp_path, image_size=8)
