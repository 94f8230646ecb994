"""`export`, `embed`, `search` and `serve-check`, one after the other, on a run whose data set is gone."""

import html
import json
import os
import pathlib
import re
import shutil
import tempfile

import hypothesis
import hypothesis.strategies as st
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from PIL import Image

from tests.commands.runs import ONE_BLOCK, argv, write_images
from tfcontrastive.commands.main import main
from tfcontrastive.export import EmbeddingFiles, embed_files, load_run
from tfcontrastive.export.serve_check import Check
from tfcontrastive.system.names import escaped


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A trained run, its images deleted: gray ones of four classes."""
    room = tmp_path_factory.mktemp("run")
    dataset = write_images(room / "images.npz", channels=1)
    assert main(argv(dataset, room / "run", knn_k=5)) == 0
    (room / "images.npz").unlink()
    return room / "run"


def write_photos(folder, count, channels):
    folder.mkdir(exist_ok=True)
    for i, pixels in enumerate(np.random.RandomState(0).randint(0, 255, (count, 12, 12, channels), np.uint8)):
        Image.fromarray(pixels.squeeze()).save(folder / f"{i}.png")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, count=9, channels=1)
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
    assert card["recipe"]["encoder"]["width_multiplier"] == ONE_BLOCK["width_multiplier"]
    assert card["data"]["image_size"] == 8
    assert card["metrics"] == {
        name: value for name, value in json.loads((run_dir / "result.json").read_text()).items() if name != "step"
    }
    assert not card["optimized"]  # a ViT has nothing to fold


def test_versions_count_up_and_optimize_is_near(run_dir, exported, tmp_path, capsys):
    shutil.copytree(exported, tmp_path, dirs_exist_ok=True)
    assert main(["export", f"--model_dir={run_dir}", f"--export_dir={tmp_path}", "--optimize"]) == 0
    assert f"{tmp_path / '2'}" in capsys.readouterr().out
    images = np.random.RandomState(1).rand(3, 8, 8, 1).astype("float32")
    plain, fast = (tf.saved_model.load(str(tmp_path / name)) for name in "12")
    received, expected = (m.signatures["serving_default"](images=images)["embedding"].numpy() for m in (fast, plain))
    np.testing.assert_allclose(received, expected, atol=1e-4 * np.abs(expected).max())


def test_another_size_of_images(run_dir):
    assert load_run(run_dir, image_size=12).model.encoder.input_shape == (None, 12, 12, 1)


def cosine_similarity(output):
    return float(re.search(r"cosine similarity (\S+),", output)[1])


def test_onnx_is_equal(run_dir, tmp_path, capsys):
    assert main(["export", f"--model_dir={run_dir}", f"--export_dir={tmp_path}", "--format=onnx"]) == 0
    output = capsys.readouterr().out
    assert cosine_similarity(output) > 0.99999
    assert float(re.search(r"largest difference (\S+)", output)[1]) < 1e-4
    assert onnxruntime.InferenceSession(tmp_path / "encoder.onnx").get_inputs()[0].shape[1:] == [8, 8, 1]


def test_int8_is_calibrated_on_a_data_set_as_the_model_sees_it(run_dir, tmp_path, capsys):
    write_photos(tmp_path / "colour", count=120, channels=3)
    (tmp_path / "colour" / "broken.jpg").write_bytes(b"no image")
    assert (
        main(
            [
                "export",
                f"--model_dir={run_dir}",
                f"--export_dir={tmp_path}",
                "--format=tflite",
                "--quantize=int8",
                f"--calibration=folder:{tmp_path / 'colour'}",
                "--calibration_images=16",
            ]
        )
        == 0
    )
    output = capsys.readouterr().out
    assert "on 16 images of folder:" in output
    assert cosine_similarity(output) > 0.98
    assert (tmp_path / "encoder-int8.tflite").stat().st_size > 1000


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


def test_embed_takes_the_files_in_records_and_leaves_bad_ones_out(exported, photos, tmp_path, capsys):
    names = ["1.png", "broken.jpg", "2.png"]
    with tf.io.TFRecordWriter(str(tmp_path / "some.tfrecord")) as writer:
        for name in names:
            value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[(photos / name).read_bytes()]))
            writer.write(tf.train.Example(features=tf.train.Features(feature={"image": value})).SerializeToString())
    arguments = ["embed", f"--saved_model={exported}", f"--dataset=tfrecord:{tmp_path / 'some.tfrecord'}"]
    assert main([*arguments, f"--output={tmp_path / 'vectors'}"]) == 0
    files = EmbeddingFiles(tmp_path / "vectors")
    assert files.ids == ["train/0", "train/2"]
    assert (
        tmp_path / "vectors" / "bad_files.txt"
    ).read_text() == "train/1\tis not a JPEG, PNG, GIF, BMP or WebP image\n"
    np.testing.assert_allclose(files.load(), embed_files(exported, [photos / "1.png", photos / "2.png"]), atol=1e-5)


def test_a_folder_that_has_changed_is_not_taken_for_the_same(exported, photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "photos")
    arguments = [
        "embed",
        f"--saved_model={exported}",
        f"--dataset=folder:{tmp_path / 'photos'}",
        f"--output={tmp_path / 'vectors'}",
    ]
    assert main(arguments) == 0
    (tmp_path / "photos" / "0.png").rename(tmp_path / "photos" / "new.png")
    assert main(arguments) == 2
    assert "with items '11 files" in capsys.readouterr().err


def test_search_leaves_out_the_image_itself_and_finds_its_copy(index, photos, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["search", f"--index={index}", "--k", "2", str(photos / "3.png"), f"--html={page}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("1.0000" in line and line.rstrip(" │").endswith(" copy.png") for line in lines)
    assert not any(line.rstrip(" │").endswith(" 3.png") for line in lines)
    assert page.read_text().count("data:image/png;base64,") == 3
    (tmp_path / "5.png").write_bytes((photos / "5.png").read_bytes())
    assert main(["search", f"--index={index}", "--k=1", str(tmp_path / "5.png")]) == 0
    assert " 5.png" in capsys.readouterr().out, "a copy elsewhere is not of the collection"


def test_search_shows_pictures_of_records(exported, photos, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with tf.io.TFRecordWriter("some.tfrecord") as writer:
        for name in ("1.png", "broken.jpg", "2.png", "large.png"):
            content = (
                (photos / name).read_bytes()
                if name != "large.png"
                else tf.io.encode_png(tf.zeros([40, 50, 1], tf.uint8)).numpy()
            )
            value = tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
            writer.write(tf.train.Example(features=tf.train.Features(feature={"image": value})).SerializeToString())
    assert main(["embed", f"--saved_model={exported}", "--dataset=tfrecord:some.tfrecord", "--output=vectors"]) == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert main(["search", "--index=../vectors", str(photos / "1.png"), "--html=page.html"]) == 0
    assert (tmp_path / "elsewhere" / "page.html").read_text().count("data:image/png;base64,") == 4, capsys.readouterr()


ODD_NAMES = [
    b"x[/b].png",
    b"[red]a.png",
    b":smile:.png",
    b"caf\xe9.png",
    b"two\nlines.png",
    b"tab\t.png",
    b"<b>&.png",
    b"\xf0\x9f\x98\x80.png",
    b"\x1b[31m.png",
    b'"quoted.png',
]


@pytest.mark.parametrize("format", ["npy", "parquet"])
def test_names_of_any_bytes_go_through_embed_search_and_pages(exported, tmp_path, monkeypatch, capsys, format):
    monkeypatch.setenv("COLUMNS", "400")  # names on one line
    folder, page = tmp_path / "photos", tmp_path / "page.html"
    write_photos(folder, count=len(ODD_NAMES), channels=1)
    (folder / "x[").mkdir()
    for i, name in enumerate(ODD_NAMES):
        (folder / f"{i}.png").rename(folder / os.fsdecode(name))
    (folder / os.fsdecode(b"bad\xe9.png")).write_bytes(b"no image")
    arguments = [f"--saved_model={exported}", f"--dataset=folder:{folder}", f"--output={tmp_path / 'vectors'}"]
    assert main(["embed", *arguments, f"--format={format}"]) == 0
    assert '"bad\\udce9.png": is not a JPEG' in capsys.readouterr().out
    queries = [str(folder / os.fsdecode(name)) for name in ODD_NAMES[:4]]
    assert main(["search", f"--index={tmp_path / 'vectors'}", *queries, f"--html={page}", "--duplicates=-0.99"]) == 0
    shown, written = capsys.readouterr().out, page.read_text(encoding="utf-8")
    for name in ODD_NAMES[1:]:  # a neighbour of the first query
        assert f" {escaped(os.fsdecode(name))} " in shown
        assert escaped(os.fsdecode(name)) in html.unescape(written)
    assert written.count("data:image/png;base64,") == len(queries) * len(ODD_NAMES)


@hypothesis.settings(max_examples=4, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(
    names=st.sets(
        st.binary(min_size=1, max_size=12).filter(
            lambda name: not {b"\0"[0], b"/"[0]} & set(name) and not name.startswith(b".")
        ),
        min_size=2,
        max_size=4,
    )
)
def test_any_file_names_go_through_embed_search_and_pages(exported, names):
    with tempfile.TemporaryDirectory() as room:
        room = pathlib.Path(room)
        write_photos(room / "photos", count=len(names), channels=1)
        files = [os.fsdecode(name) + ".png" for name in sorted(names)]
        for i in range(len(files)):
            (room / "photos" / f"{i}.png").rename(room / "photos" / f"renamed {i}")
        for i, name in enumerate(files):
            (room / "photos" / f"renamed {i}").rename(room / "photos" / name)
        arguments = [f"--saved_model={exported}", f"--dataset=folder:{room / 'photos'}", f"--output={room / 'vectors'}"]
        assert main(["embed", *arguments]) == 0
        assert sorted(EmbeddingFiles(room / "vectors").ids) == sorted(files)
        query, page = str(room / "photos" / files[0]), room / "page.html"
        assert main(["search", f"--index={room / 'vectors'}", f"--html={page}", query]) == 0
        for name in files[1:]:
            assert escaped(name) in html.unescape(page.read_text(encoding="utf-8"))


def test_replaced_pictures_and_damage_are_one_line(exported, photos, tmp_path, capsys):
    shutil.copytree(photos, tmp_path / "photos")
    output = tmp_path / "vectors"
    arguments = ["embed", f"--saved_model={exported}", f"--dataset=folder:{tmp_path / 'photos'}", f"--output={output}"]
    assert main([*arguments, "--content_hash"]) == 0
    os.utime(tmp_path / "photos" / "1.png", ns=(1, 1))
    assert main([*arguments, "--content_hash"]) == 0
    (tmp_path / "photos" / "1.png").write_bytes((photos / "2.png").read_bytes())
    capsys.readouterr()
    assert main([*arguments, "--content_hash"]) == 2
    assert "1 changed, such as 1.png" in capsys.readouterr().err
    (output / "vectors-00000.npy").write_bytes(b"")
    for command in (arguments, ["search", f"--index={output}", "--duplicates=1"]):
        assert main(command) == 2
        errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]
        assert len(errors) == 1
        assert "vectors-00000.npy, which has 0 bytes" in errors[0]


def test_search_lists_duplicates(index, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main(["search", f"--index={index}", "--duplicates=0.9999999", f"--html={page}"]) == 0
    shown = capsys.readouterr().out
    assert "\t3.png\tcopy.png" in shown
    assert f"pictures: {page}" in shown
    names = {name for line in shown.splitlines() for name in line.split("\t")[1:]}
    written = page.read_text().replace("<wbr>", "")
    assert written.count("<figure") == len(names)
    assert "--duplicates=0.9999999" in written


@pytest.mark.parametrize(("passed", "code", "word"), [(True, 0, "pass"), (None, 0, "not run"), (False, 2, "FAIL")])
def test_serve_check_tells_by_its_exit_code(exported, monkeypatch, capsys, passed, code, word):
    asked = {}

    def check(path, **options):
        asked.update(options, path=path)
        return [Check("signatures", True, "all"), Check("C++ session", passed, "details")]

    monkeypatch.setattr("tfcontrastive.export.serve_check.check_export", check)
    assert main(["serve-check", "--server=localhost:8500", str(exported)]) == code
    assert asked == {"path": str(exported), "server": "localhost:8500", "server_model": "encoder"}
    row = next(line for line in capsys.readouterr().out.splitlines() if "C++ session" in line)
    assert word in row
    assert "details" in row


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["export", "--export_dir=x"], ["`model_dir` must be given"]),
        (["export", "--model_dir=nowhere", "--export_dir=x"], ["config.json", "nowhere"]),
        (["export", "--model_dir=RUN", "--export_dir=x", "--format=onnx", "--quantize=int8"], ["--format=tflite"]),
        (["export", "--model_dir=RUN", "--export_dir=x", "--format=tflit"], ["tflit"]),
        (["export", "--model_dir=RUN", "--export_dir=x", "--format=tflite", "--quantize=int8"], ["images.npz"]),
        (["export", "--model_dir=RUN", "--export_dir=x", "--channels=3"], ["checkpoint must be of this very network"]),
        (["embed", "--saved_model=BASE", "--dataset=folder:nowhere"], ["`output` must be given"]),
        (["embed", "--saved_model=nowhere", "--dataset=folder:x", "--output=y"], ["`saved_model` must be", "nowhere"]),
        (["embed", "--saved_model=BASE", "--dataset=folder:nowhere", "--output=y"], ["must be readable", "nowhere"]),
        (
            ["embed", "--saved_model=BASE", "--dataset=embedded", "--output=y"],
            ["`split` must be given", "test", "train"],
        ),
        (["search", "--index=INDEX"], ["`IMAGE` must be given"]),
        (["search", "--index=INDEX", "--k=11", "PHOTOS/3.png"], ["`k` must be between 1 and the 9 other vectors"]),
        (["search", "--index=INDEX", "--k=0", "PHOTOS/3.png"], ["`k` must be between 1 and"]),
        (["search", "--index=INDEX", "nowhere.png"], ["nowhere.png", "No such file"]),
        (["search", "--index=INDEX", "PHOTOS/broken.jpg"], ["broken.jpg", "it is no image"]),
        (["search", "--index=nowhere", "--duplicates=1"], ["manifest.json", "nowhere"]),
        (["search", "--index=INDEX", "--dupl=1"], ["--dupl"]),
        (["serve-check"], ["`BASE` must be one export"]),
        (["serve-check", "nowhere"], ["must be a SavedModel", "nowhere"]),
    ],
)
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
