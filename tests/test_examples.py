"""The scripts and notebooks of examples/, run small, as a newcomer would run them."""

import functools
import importlib.util
import json
import pathlib
import re
import sys

import keras
import matplotlib
import numpy as np
import pytest
import tensorflow as tf

import tfcontrastive as tfc
from tests.commands.runs import ONE_BLOCK

EXAMPLES = pathlib.Path(__file__).parents[1] / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
ENCODER = {"width": 32, "depth": 1, "num_heads": 2, "patch_size": 14}


def one_block(size=28, channels=1):
    """A network that is traced in a fraction of a ResNet's time, in place of the examples' own."""
    return tfc.ViT(input_shape=(size, size, channels), **ENCODER)


@pytest.fixture(scope="module")
def few_images():
    """Some of the embedded images, decoded once: to decode all of them for each source would take longer than the rest."""
    source = tfc.data.load("embedded")
    images, labels = source.arrays("test")
    splits = {"train": (images[:600], labels[:600]), "test": (images[600:800], labels[600:800])}
    return tfc.data.ArraySource(splits, class_names=source.class_names, name="embedded")


@pytest.fixture(autouse=True)
def embedded(few_images, monkeypatch):
    load = tfc.data.load
    monkeypatch.setattr(tfc.data, "load", lambda spec, **how: few_images if spec == "embedded" else load(spec, **how))


@pytest.fixture
def script(monkeypatch):
    """Loads a script, with a small network in place of its own."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)  # a dataclass looks for its module there
        spec.loader.exec_module(module)
        monkeypatch.setattr(module, "network", one_block)
        keras.utils.set_random_seed(0)
        return module

    return load


def read(notebook):
    return json.loads(notebook.read_text(encoding="utf-8"))


def code(notebook):
    return ["".join(cell["source"]) for cell in read(notebook)["cells"] if cell["cell_type"] == "code"]


def execute(notebook, **parameters):
    """The names that a notebook's cells leave, run in order, with other values for those of its first cell."""
    first, *others = code(notebook)
    names = {}
    exec(compile(first, f"{notebook.name}, first cell", "exec"), names)
    assert set(parameters) <= set(names), "a parameter that the first cell does not set"
    names.update(parameters)
    for number, cell in enumerate(others, start=2):
        exec(compile(cell, f"{notebook.name}, code cell {number}", "exec"), names)
    return names


@pytest.fixture
def plots(monkeypatch):
    """Draws without a screen; the numbers of axes of each figure that was shown."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    shown = []

    def show():
        figure = pyplot.gcf()
        figure.canvas.draw()
        shown.append(len(figure.axes))
        pyplot.close(figure)

    monkeypatch.setattr(pyplot, "show", show)
    yield shown
    pyplot.close("all")


def test_your_images_finds_neighbours_by_the_vectors_of_its_export(script, tmp_path, capsys):
    script("your_images").main(["--epochs=1", "--limit=60", "--batch_size=16", f"--output={tmp_path}"])
    out = capsys.readouterr().out
    assert "60 images, 10 classes, 0 unreadable files" in out
    assert re.search(r"kNN top-1: [\d.]+% untrained, [\d.]+% trained", out)
    files = tfc.export.EmbeddingFiles(tmp_path / "vectors" / "1")
    vectors = files.load()
    assert vectors.shape == (60, 32)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = re.findall(r"^  ([\d.]+)  (.+)$", out, re.M)
    rows = [files.ids.index(name) for _, name in found]
    assert len(set(rows) - {0}) == 5
    similarity = unit @ unit[0]
    np.testing.assert_allclose(similarity[rows], np.sort(similarity[1:])[:-6:-1], atol=1e-6)
    np.testing.assert_allclose([float(number) for number, _ in found], similarity[rows], atol=6e-4)


def test_your_images_trains_on_all_of_a_folder_without_labels(script, tmp_path, monkeypatch, capsys):
    for number, image in enumerate(tfc.data.load("embedded").arrays("train[:20]")[0]):
        keras.utils.save_img(tmp_path / f"{number:02}.png", image, scale=False)

    class Enough(Exception):
        pass

    def train(source, split, args):
        assert (split, module.measure(None, source)) == ("train", None)
        raise Enough

    module = script("your_images")
    monkeypatch.setattr(module, "train", train)
    with pytest.raises(Enough):
        module.main([str(tmp_path), f"--output={tmp_path / 'out'}"])
    assert "20 images, no classes" in capsys.readouterr().out


def test_the_new_method_is_vicreg(script, capsys):
    module = script("new_method")
    module.main(["--steps=2", "--limit=300"])
    assert re.search(r"kNN top-1: [\d.]+% untrained, [\d.]+% trained", capsys.readouterr().out)
    z = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    v = np.maximum(0, 1 - np.sqrt(z.var(axis=0, ddof=1) + 1e-4)).mean()
    covariance = np.cov(z.T)
    c = sum(covariance[i, j] ** 2 for i in range(3) for j in range(3) if i != j) / 3
    np.testing.assert_allclose(module.variance_and_covariance(z), [v, c], rtol=1e-5)


def test_a_second_task_is_added_to_simclrs_loss(script, capsys):
    module = script("second_task")
    module.main(["--steps=1", "--limit=300"])
    assert re.findall(r"kNN top-1: [\d.]+% with a turn_weight of (\d)", capsys.readouterr().out) == ["0", "1"]
    images = np.random.default_rng(0).random((8, 14, 14, 1), np.float32)
    for all_turns in (False, True):
        turned, quarters = module.turns(tf.constant(images), all_turns)
        sources = np.tile(np.arange(8), 4) if all_turns else np.arange(8)
        for image, source, quarter in zip(turned, sources, quarters, strict=True):
            np.testing.assert_array_equal(image, np.rot90(images[source], quarter))
    views = [tf.constant(images)] * 3
    model = module.TurnedSimCLR(one_block(14), module.TurnedSimCLRConfig(turn_weight=0.7))
    plain = module.methods.SimCLR.views_loss(model, views[:2], False).loss
    turned, quarters = module.turns(views[2], False)
    logits = model.turn_head(model.encoder(turned, training=False), training=False)
    second = np.mean(keras.losses.sparse_categorical_crossentropy(quarters, logits, from_logits=True))
    np.testing.assert_allclose(model.views_loss(views, False).loss, plain + 0.7 * second, rtol=1e-5)


def test_three_ways_of_serving_agree(script, tmp_path, capsys):
    script("serve_embeddings").main(["--limit=128", f"--output={tmp_path}"])
    away = re.findall(r"^(\S+): .* at most (\S+) away", capsys.readouterr().out, re.M)
    assert [name for name, _ in away] == ["tf.saved_model.load", "keras.layers.TFSMLayer", "image_bytes"]
    assert max(float(number) for _, number in away) < 1e-5


def test_images_and_texts_are_found_by_one_another(script, monkeypatch, capsys):
    eagerly = functools.partialmethod(tfc.TwoTower.compile, run_eagerly=True)  # two steps: sooner run than traced
    monkeypatch.setattr(tfc.TwoTower, "compile", eagerly)
    script("image_text").main(["--epochs=1", "--limit=300"])
    out = capsys.readouterr().out
    assert re.search(r"^all: its description [\d.]+% at 1 \(chance 3.3%\), [\d.]+% at 5 \(chance 16.7%\)$", out, re.M)
    assert re.search(r"^descriptions never seen: an image of a description [\d.]+% at 1", out, re.M)
    assert re.search(r"^classes by prompts: [\d.]+% \(chance 10%\)$", out, re.M)


def test_explore_an_encoder(plots):
    names = execute(EXAMPLES / "explore_an_encoder.ipynb", STEPS=10, IMAGES=200, POINTS=50, ENCODER=one_block())
    assert names["trained"].train_features.shape == (200, 32)
    for feature in names["both"].values():
        assert np.isfinite(feature.features).all()
    assert all(1 < rank < 32 for rank in names["rank"].values())
    # The images; them and two views; the curves; neighbours, twice; the spectrum; the map.
    assert plots == [1, 1, 2, 1, 1, 1, 1]


def test_few_labels(plots, tmp_path):
    small = {"STEPS": 2, "IMAGES": 400, "LABELS": (0.1,), "TUNING_STEPS": 1, "NETWORK": {**ONE_BLOCK, "patch_size": 14}}
    names = execute(EXAMPLES / "few_labels.ipynb", FOLDER=str(tmp_path), **small)
    assert len(names["rows"]) == 40
    subsets = [json.loads((tmp_path / name / "label_subset.json").read_text()) for name in ("tuned_0.1", "scratch_0.1")]
    assert subsets[0] == subsets[1]  # else one has learned from other images than the other
    for name, runs in names["both"].items():
        # What the run reports of the test images is what the notebook's own answers give.
        right = np.mean(names["answers"][name] == names["test_labels"])
        assert runs[0.1].metrics["eval_top1"] == pytest.approx(right)
    assert plots == [1, 1, 1, 8]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_of_format_4_and_cleared(notebook):
    held = read(notebook)
    assert set(held) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert (held["nbformat"], held["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in held["cells"]}) == len(held["cells"])
    for cell in held["cells"]:
        keys = {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            keys |= {"execution_count", "outputs"}
            assert (cell["execution_count"], cell["outputs"]) == (None, [])
        assert set(cell) == keys
        assert cell["cell_type"] in ("code", "markdown")
        assert not cell["metadata"]


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_scripts_are_short(script):
    assert len(script.read_text(encoding="utf-8").splitlines()) < 100


def test_every_example_is_in_its_page():
    page = (EXAMPLES.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    for path in [*EXAMPLES.glob("*.py"), *NOTEBOOKS]:
        assert path.name in page
