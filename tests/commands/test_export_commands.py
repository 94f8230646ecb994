"""`export`, `embed`, `search` and `serve-check`, one after the other, on a run whose data set is gone."""

import json
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.commands.runs import words, write_images
from tfcontrastive.commands.main import main
from tfcontrastive.export import EmbeddingFiles, load_run


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A trained run, its images deleted: gray ones of four classes."""
    room = tmp_path_factory.mktemp("run")
    dataset = write_images(room / "images.npz", channels=1)
    assert main(words(dataset, room / "run", knn_k=5)) == 0
    (room / "images.npz").unlink()
    return room / "run"


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.RandomState(0)
    for i in range(9):
        Image.fromarray(random.randint(0, 255, (12, 12), np.uint8)).save(folder / f"{i}.png")
    (folder / "copy.png").write_bytes((folder / "3.png").read_bytes())
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


@pytest.fixture(scope="module")
def exported(run_dir):
    base = run_dir.parent / "exported"
    assert main(["export", f"--model_dir={run_dir}", f"--export_dir={base}"]) == 0
    return base


@pytest.fixture(scope="module")
def index(exported, photos):
    output = exported.parent / "vectors"
    arguments = ["embed", f"--saved_model={exported}", f"--dataset=folder:{photos}", f"--output={output}"]
    assert main([*arguments, "--batch_size=4"]) == 0
    return output


def test_export_gives_the_runs_own_vectors(run_dir, exported):
    images = np.random.RandomState(1).rand(3, 8, 8, 1).astype("float32")
    ours, theirs = (tf.saved_model.load(str(path)) for path in (exported / "1", run_dir / "saved_model" / "1"))
    for name in ("embedding", "logits_sup", "proj_head_output"):
        received, expected = (model.signatures["features"](images=images)[name] for model in (ours, theirs))
        np.testing.assert_allclose(received, expected, atol=1e-6, err_msg=name)


def test_the_card_tells_how_it_was_trained(run_dir, exported):
    card = json.loads((exported / "1" / "model_card.json").read_text())
    assert card["method"] == "SimCLR"
    assert card["step"] == 4
    assert card["recipe"]["width_multiplier"] == 0.0625
    assert card["data"]["image_size"] == 8
    assert card["metrics"] == {
        name: value for name, value in json.loads((run_dir / "result.json").read_text()).items() if name != "step"
    }
    assert not card["optimized"]


def test_versions_count_up_and_optimize_is_near(run_dir, exported, capsys):
    arguments = ["export", f"--model_dir={run_dir}", f"--export_dir={exported.parent / 'second'}"]
    assert main(arguments) == main([*arguments, "--optimize"]) == 0
    assert f"{exported.parent / 'second' / '2'}" in capsys.readouterr().out
    images = np.random.RandomState(1).rand(3, 8, 8, 1).astype("float32")
    plain, fast = (tf.saved_model.load(str(exported.parent / "second" / name)) for name in "12")
    received, expected = (m.signatures["serving_default"](images=images)["embedding"].numpy() for m in (fast, plain))
    np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())


def test_another_size_of_images(run_dir):
    assert load_run(run_dir, image_size=12).model.encoder.input_shape == (None, 12, 12, 1)


def test_tflite_is_near(run_dir, tmp_path, capsys):
    assert main(["export", f"--model_dir={run_dir}", f"--export_dir={tmp_path}", "--format=tflite",
                 "--quantize=float16"]) == 0
    assert (tmp_path / "encoder-float16.tflite").stat().st_size > 1000
    assert float(re.search(r"cosine similarity (\S+),", capsys.readouterr().out)[1]) > 0.999


def test_int8_is_calibrated_on_a_data_set(run_dir, tmp_path, capsys):
    calibration = write_images(tmp_path / "other.npz", count=16, channels=1)
    assert main(["export", f"--model_dir={run_dir}", f"--export_dir={tmp_path}", "--format=tflite", "--quantize=int8",
                 f"--calibration={calibration}"]) == 0
    assert "on 16 images of npz:" in capsys.readouterr().out


def test_embed_lists_what_it_left_out(index, photos):
    files = EmbeddingFiles(index)
    assert files.ids == sorted([*(f"{i}.png" for i in range(9)), "copy.png"])
    assert files.facts["source"] == f"folder:{photos}"
    assert (index / "bad_files.txt").read_text().startswith("broken.jpg\t")


def test_embed_takes_any_source(exported, tmp_path, capsys):
    dataset = write_images(tmp_path / "images.npz", count=6, channels=1)
    arguments = ["embed", f"--saved_model={exported}", f"--dataset={dataset}", f"--output={tmp_path / 'vectors'}"]
    assert main([*arguments, "--split=train[:4]", "--dtype=float16", "--normalize"]) == 0
    assert EmbeddingFiles(tmp_path / "vectors").ids == [f"train[:4]/{i}" for i in range(4)]
    assert "4 vectors in" in capsys.readouterr().out
    assert main(["search", f"--index={tmp_path / 'vectors'}", "--duplicates=-0.99"]) == 0
    assert "6 pairs" in capsys.readouterr().out


def test_search_finds_the_image_itself(index, photos, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["search", f"--index={index}", "--k", "2", str(photos / "5.png"), f"--html={page}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("1.0000" in line and line.rstrip(" │").endswith(" 5.png") for line in lines)
    assert page.read_text().count("data:image/png;base64,") == 3


def test_search_lists_duplicates(index, capsys):
    assert main(["search", f"--index={index}", "--duplicates=0.9999999"]) == 0
    assert "\t3.png\tcopy.png" in capsys.readouterr().out


def test_serve_check_tells_by_its_exit_code(exported, tmp_path, capsys):
    assert main(["serve-check", str(exported)]) == 0
    assert "pass" in capsys.readouterr().out
    (exported / "1").rename(tmp_path / "latest")
    try:
        assert main(["serve-check", str(tmp_path / "latest")]) == 2
    finally:
        (tmp_path / "latest").rename(exported / "1")
    assert "FAIL" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "parts"), [
    (["export", "--export_dir=x"], ["`model_dir` must be given"]),
    (["export", "--model_dir=nowhere", "--export_dir=x"], ["config.json", "nowhere"]),
    (["export", "--model_dir=RUN", "--export_dir=x", "--format=onnx", "--quantize=int8"], ["--format=tflite"]),
    (["export", "--model_dir=RUN", "--export_dir=x", "--format=tflit"], ["tflit"]),
    (["export", "--model_dir=RUN", "--export_dir=x", "--format=tflite", "--quantize=int8"], ["images.npz"]),
    (["export", "--model_dir=RUN", "--export_dir=x", "--channels=3"], ["checkpoint must be of this very network"]),
    (["embed", "--saved_model=BASE", "--dataset=folder:nowhere"], ["`output` must be given"]),
    (["embed", "--saved_model=nowhere", "--dataset=folder:x", "--output=y"], ["`saved_model` must be", "nowhere"]),
    (["embed", "--saved_model=BASE", "--dataset=folder:nowhere", "--output=y"], ["must hold images"]),
    (["embed", "--saved_model=BASE", "--dataset=embedded", "--output=y"], ["`split` must be given", "test", "train"]),
    (["search", "--index=INDEX"], ["`IMAGE` must be given"]),
    (["search", "--index=INDEX", "nowhere.png"], ["nowhere.png", "No such file"]),
    (["search", "--index=INDEX", "PHOTOS/broken.jpg"], ["broken.jpg", "is not a JPEG"]),
    (["search", "--index=nowhere", "--duplicates=1"], ["manifest.json", "nowhere"]),
    (["search", "--index=INDEX", "--dupl=1"], ["--dupl"]),
    (["serve-check"], ["`BASE` must be one export"]),
    (["serve-check", "nowhere"], ["must be a SavedModel", "nowhere"]),
])
def test_mistakes_are_one_line(run_dir, exported, index, photos, tmp_path, monkeypatch, capsys, arguments, parts):
    monkeypatch.chdir(tmp_path)
    names = {"RUN": run_dir, "BASE": exported, "INDEX": index, "PHOTOS": photos}
    for name, path in names.items():
        arguments = [word.replace(name, str(path)) for word in arguments]
    assert main(arguments) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]
    assert len(errors) == 1
    for part in parts:
        assert part in errors[0]


@pytest.mark.parametrize("command", ["export", "embed", "search", "serve-check"])
def test_help(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"tfcontrastive {command}" in capsys.readouterr().out
