"""The whole command on 200 generated images, and what it leaves."""

import contextlib
import html
import io
import json
import pathlib
from types import SimpleNamespace

import numpy as np
import pytest

import tfcontrastive
from tests.commands.runs import ONE_BLOCK
from tests.fitting.folders import drawn, write
from tfcontrastive import data
from tfcontrastive.commands import fit as fit_command
from tfcontrastive.commands.main import main
from tfcontrastive.fitting import fit, leaving
from tfcontrastive.fitting.stages import Fitting

SMALL = {**ONE_BLOCK, "train_steps": 10, "train_batch_size": 32, "mixed_precision": "float32"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = write(tmp_path_factory.mktemp("fit") / "shapes", 196)
    for name in ("0000", "0004", "0008", "0012"):
        (root / "disk" / f"copy-{name}.png").write_bytes((root / "disk" / f"{name}.png").read_bytes())
    return root


def command(photos, out, **more):
    return ["fit", str(photos), f"--output_dir={out}", *(f"--{k}={v}" for k, v in {**SMALL, **more}.items())]


@pytest.fixture(scope="module")
def killed_once(photos, tmp_path_factory):
    """The command's result, killed while it measured and started again; what lay there between, and what it printed."""

    def killed(*_):
        raise KeyboardInterrupt

    out, printed, results = tmp_path_factory.mktemp("fit") / "out", io.StringIO(), []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Fitting, "measure", killed)
        assert main(command(photos, out)) == 130
    names = ("clock.json", "fit.json", "held_out.json", "checkpoints/checkpoint")
    between = {name: (out / name).read_bytes() for name in names}
    show = fit_command.show
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(printed):
        patch.setattr(fit_command, "show", lambda result: [results.append(result), show(result)])
        assert main(command(photos, out)) == 0
    return SimpleNamespace(out=out, between=between, printed=printed.getvalue(), result=results[0])


@pytest.fixture(scope="module")
def done(killed_once):
    return killed_once.out


@pytest.fixture
def unchecked(monkeypatch):
    """Consumers of the SavedModel are tried out once, by `done`."""
    monkeypatch.setattr(leaving, "check", lambda saved_model: [])


@pytest.fixture(scope="module")
def metrics(done):
    return json.loads((done / "metrics.json").read_text())


def test_every_encoder_is_measured_beside_chance(metrics):
    for name in ("raw_pixels", "random", "trained", "fine_tuned"):
        one = metrics[name]
        for probe in ("knn", "linear"):
            assert 0 <= one[f"{probe}_top1_low"] <= one[f"{probe}_top1"] <= one[f"{probe}_top1_high"] <= 1
    assert metrics["chance"]["uniform"] == 0.25
    assert 0 < metrics["trained"]["retrieval_top1"] <= 1
    assert metrics["fine_tuned"]["classifier_top1"] > 0
    assert metrics["saved_model_problems"] == []
    assert metrics["seconds"] > sum(metrics["stages"].values()) * 0.9


def test_a_fifth_is_held_out_by_file_with_copies_on_one_side(done, photos):
    listed = json.loads((done / "held_out.json").read_text())
    assert listed["num_images"] == 200
    assert len(listed["held_out"]) == pytest.approx(40, abs=3)
    out = set(listed["held_out"])
    for name in ("0000", "0004", "0008", "0012"):
        assert (f"disk/{name}.png" in out) == (f"disk/copy-{name}.png" in out)
    source = data.load(f"folder:{photos}", held_out=str(done / "held_out.json"))
    assert source.num_examples("train") + source.num_examples("held_out") == 200


def test_the_vectors_are_a_table_that_pandas_reads(done, metrics):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(done / "embeddings.parquet").to_pydict()
    assert list(table) == ["id", "label", "split", "embedding"]
    assert len(set(table["id"])) == 200
    assert set(table["label"]) == {"disk", "square", "triangle", "cross"}
    assert table["split"].count("held_out") == pytest.approx(40, abs=3)
    np.testing.assert_allclose(np.linalg.norm(table["embedding"], axis=1), 1, atol=1e-5)
    where = dict(zip(table["id"], table["embedding"], strict=True))
    np.testing.assert_allclose(where["disk/0000.png"], where["disk/copy-0000.png"], atol=1e-6)


def test_the_page_has_its_sections_and_loads_nothing(done):
    page = (done / "report.html").read_text()
    for heading in ("Results", "Curves", "Augmented views", "Nearest neighbours", "Map of the embedding", "Duplicates",
                    "Outliers", "Labels to look at", "What was decided"):  # fmt: skip
        assert f">{heading}</h2>" in page
    assert 'src="http' not in page
    assert "tfcontrastive fit" in page


def test_suspects_and_logs_are_there(done):
    assert (done / "labels.csv").read_text().startswith("file,label,suggested,confidence\n")
    assert list((done / "logs").glob("events.*"))


def test_the_next_commands_name_real_paths(done, killed_once):
    lines = [line.strip() for line in killed_once.printed.splitlines()]
    following = lines[lines.index("Next:") + 1 :]
    assert [line.split()[1] for line in following] == ["embed", "search", "serve-check"]
    paths = [path.strip("'").rpartition("=")[2] for line in following for path in line.split()[2:]]
    assert str(done / "saved_model") in paths
    assert any(pathlib.Path(path).is_file() for path in paths)  # the image to search with


def test_killed_while_it_measures_it_goes_on_with_the_clock(killed_once, metrics):
    out, between = killed_once.out, killed_once.between
    for name in ("fit.json", "held_out.json", "checkpoints/checkpoint"):
        assert (out / name).read_bytes() == between[name]
    assert metrics["seconds"] > json.loads(between["clock.json"])["seconds"] > 0
    assert metrics["steps"] == SMALL["train_steps"]


def test_the_result_in_python(photos, killed_once, metrics):
    r = killed_once.result
    assert r.metrics["trained"]["knn_top1"] == metrics["trained"]["knn_top1"]
    assert r.encoder(np.zeros([2, 24, 24, 3], np.float32)).shape == (2, r.own.features.train.shape[1])
    table = r.embeddings()
    assert len(table["id"]) == 200
    found = r.search(photos / "disk" / "0016.png", k=3)
    assert found[0][0] == "disk/0016.png"
    assert found[0][1] > 0.99
    shown = html.unescape(r._repr_html_())
    assert "trained, no labels" in shown
    assert "data:image" in shown
    assert str(killed_once.out) in repr(r)
    assert 0 < r.finetune(labels=0.5, train_epochs=1).metrics["eval_top1"] <= 1
    assert tfcontrastive.fit is fit


def small(tmp_path, images, labels=None, **more):
    """The result of a run of few steps on some images."""
    held = {"images": images} if labels is None else {"images": images, "labels": labels}
    np.savez(tmp_path / "images.npz", **held)
    settings = {**SMALL, "train_steps": 4, "train_batch_size": 4, **more}
    return fit(tmp_path / "images.npz", output_dir=tmp_path / "out", minutes=None, **settings)


def test_more_classes_than_half_the_images_and_weights_to_start_from(done, tmp_path, unchecked):
    images, _ = drawn(13, 12)
    r = small(tmp_path, images, np.arange(13) // 2, checkpoint=str(done))  # the last class has one image
    assert r.trained.config.data.image_size == 24  # as that of the weights
    assert set(r.metrics["given"]) == set(r.metrics["trained"])
    assert "starting weights" in (tmp_path / "out" / "report.html").read_text()
    assert len(r.own.features.test) == 6
    assert r.metrics["trained"]["knn_k"] == 1


def test_started_again_it_only_measures_identical_images_without_labels_too(tmp_path, unchecked, capsys):
    images = np.repeat(drawn(1, 12)[0], 10, axis=0)
    first = small(tmp_path, images)
    assert "all images are identical" in capsys.readouterr().err
    before = (tmp_path / "out" / "checkpoints" / "checkpoint").read_bytes()
    r = small(tmp_path, images)
    assert (tmp_path / "out" / "checkpoints" / "checkpoint").read_bytes() == before
    assert r.metrics["trained"] == first.metrics["trained"]
    assert r.metrics["seconds"] > first.metrics["seconds"]
    assert "knn_top1" not in r.metrics["trained"]
    assert "chance" not in r.metrics
    assert r.metrics["clusters"] is None
    assert (tmp_path / "out" / "report.html").exists()
