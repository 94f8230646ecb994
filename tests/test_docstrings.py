"""Every example of a docstring, and README's program, does what it says: as they are written, of fewer steps.

Examples are found in the files' text and not in imported modules: so none is left out, decorated functions and properties
among them, and none is imported before its test runs. An example that shows no output may give any.
"""

import ast
import doctest
import functools
import importlib
import pathlib
import re
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfcontrastive
from tfcontrastive.data import ArraySource, TfdsSource

ROOT = pathlib.Path(__file__).parents[1]
PACKAGES = {"tfcontrastive": "tfcontrastive", "export": "tfcontrastive.export", "flags": "tfcontrastive.flags"}

NOT_RUN = {
    "tfcontrastive.encoders.hub.hub_encoder": "downloads a preset; tests/encoders/test_hub.py loads one from a folder",
    "tfcontrastive.downstream.distill_features.distill_features": "two runs; tests/downstream has one of two layers",
    "tfcontrastive.downstream.student_run.load_student": "a run; tests/downstream/test_distill_features.py makes one",
    "tfcontrastive.fitting.adapting.adapt": "a whole command; tests/fitting/test_adapting.py runs it on 80 images",
    "tfcontrastive.fitting.stages.fit": "a whole command; tests/fitting/test_fit.py runs it on 200 images",
    "tfcontrastive.pretrained.load.load": "a file of published weights; tests/pretrained writes such files",
    "tfcontrastive.protocols.transfer.Transfer": "data sets that tensorflow-datasets downloads; see tests/protocols",
    "tfcontrastive.evaluate.robustness.Robustness": "75 corruptions; tests/evaluate/test_corruptions.py measures with it",
    "tfcontrastive.export.towers.save_towers": "three graphs; tests/export/test_towers.py makes more of them",
    "tfcontrastive.export.serve_check.check_export": "a minute of consumers; tests/export/test_serve_check.py runs each",
    "tfcontrastive.export.beam.ReadImages": "Apache Beam; tests/beam runs it in an environment of its own",
    "tfcontrastive.export.beam.EmbedImages": "Apache Beam; tests/beam runs it in an environment of its own",
    "tfcontrastive.export.beam.EmbeddingHandler": "Apache Beam; tests/beam runs it in an environment of its own",
    "tfcontrastive.export.benchmark.benchmark_export": "four processes; tests/export/test_benchmark.py starts one",
    "tfcontrastive.export.client.EmbeddingClient": "a server; tests/export/test_client_answers.py has a stub of one",
    "tfcontrastive.export.postgres_writer.PostgresWriter": "a database; tests/export/test_postgres.py starts one",
    "tfcontrastive.export.postgres_set.PostgresSet": "a database; tests/export/test_postgres.py starts one",
}
"""What cannot run here, and why: it is compiled alone."""

SMALLER = {
    r"\b(train_|supervised_|every_)?epochs=\d+": r"\1epochs=1",
    r"\bsteps_per_epoch=\d+": "steps_per_epoch=1",
    r"(?<!-)\b(train_)?batch_size=(128|256)\b": r"\1batch_size=4",
    r"\bresnet_depth=18, width_multiplier=[\d.]+": 'encoder="vit_small", vit_depth=1, width_multiplier=0.0834, patch_size=7',
    r"\b(tfc\w*)\.ResNet\(18, width_multiplier=0.25, input_shape=\((\d+), \d+, (\d)\)\)": (
        r"\1.ViT(width=16, depth=1, num_heads=2, patch_size=4, input_shape=(\2, \2, \3))"
    ),
    r"\btrain_images=\d+": "train_images=100, eval_images=20, contents=4, styles=2",
    r"\bInvariances\(\)": "Invariances(max_epochs=1)",
    r'\bfractions="0.01,0.1"': 'fractions="0.01", train_epochs=1',
    r'\bfractions="0.01,0.1,1"': 'fractions="0.01", train_epochs=1, supervised_epochs=1',
}
"""What an example says, and what of it is run."""


def examples():
    """(dotted name, docstring, line) of every docstring with an example."""
    for room, package in PACKAGES.items():
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = path.relative_to(ROOT / room).with_suffix("").parts
            module = ".".join((package, *(part for part in parts if part != "__init__")))
            yield from _of_node(ast.parse(path.read_text(encoding="utf-8")), module, module)


def _of_node(node, name, module):
    for child in (node, *ast.iter_child_nodes(node)):
        if not isinstance(child, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if child is not node:
            yield from _of_node(child, f"{name}.{child.name}", module)
        elif ">>> " in (text := ast.get_docstring(node) or ""):
            yield pytest.param(name, module, text, node.body[0].lineno, id=name)


EXAMPLES = list(examples())


class Checker(doctest.OutputChecker):
    """Where an example shows no output, any will do."""

    def check_output(self, want, got, optionflags):
        return not want or super().check_output(want, got, optionflags)


class Names(dict):
    """The globals of an example: its module's names, and below those which it takes as given, made when looked up."""

    def __init__(self, module):
        given = {"np": np, "tf": tf, "keras": keras, "tfcontrastive": tfcontrastive, "__name__": "__main__"}
        super().__init__({**given, **vars(module)})

    def add_given(self, code):
        """Python looks globals up past `__missing__` in functions: so what is named is made before."""
        for name in sorted({node.id for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Name)}):
            if name in GIVEN and name not in self:
                self[name] = GIVEN[name]()


def tiny_encoder():
    x = images = keras.Input((28, 28, 1))
    for width in (8, 16):
        x = keras.layers.Conv2D(width, 3, strides=3, activation="silu")(x)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(x))


def tiny_model():
    model = tfcontrastive.SimCLR(tiny_encoder(), tfcontrastive.SimCLRConfig(proj_out_dim=8), num_classes=10)
    model.compile(optimizer=tfcontrastive.LARS(0.1))
    return model


GIVEN = {
    "images": lambda: np.random.default_rng(0).random((8, 28, 28, 1), np.float32),
    "encoder": tiny_encoder,
    "model": tiny_model,
}
"""What examples take as given: images, a network and a method on it."""


def few_images(**_):
    """In place of the embedded images, of which a test need not wait for the 12,000."""
    rng = np.random.default_rng(0)

    def some(count):
        return rng.integers(0, 256, (count, 28, 28, 1), dtype=np.uint8), np.arange(count) % 10

    source = ArraySource({"train": some(60), "test": some(20)})
    source.name = "embedded"
    return source


@pytest.fixture(scope="session")
def embedded():
    """The embedded images themselves, read once."""
    source = tfcontrastive.data.load("embedded")
    return lambda **_: source


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """A function that makes what examples read, once: a run, a classifier, an export, its vectors, images."""
    folder = tmp_path_factory.mktemp("made")

    def images(name):
        rng = np.random.default_rng(len(name))
        for label in "ab":
            for split in ("train", "test"):
                (folder / name / split / label).mkdir(parents=True)
                for i in range(4):
                    pixels = rng.integers(0, 256, (28, 28), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / name / split / label / f"{i}.png")

    def run(name):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(TfdsSource, "embedded", few_images)
            tfcontrastive.train(
                tfcontrastive.TrainConfig(
                    method_config=tfcontrastive.SimCLRConfig(proj_out_dim=8),
                    data=tfcontrastive.DataConfig(dataset="embedded", image_size=28),
                    encoder=tfcontrastive.EncoderConfig(
                        encoder="vit_small", vit_depth=1, width_multiplier=0.0834, patch_size=7
                    ),
                    loop=tfcontrastive.LoopConfig(
                        model_dir=str(folder / name), train_batch_size=4, train_steps=1, knn_epochs=0
                    ),
                )
            )

    def vectors(name):
        from tfcontrastive.export import embed_images, folder_items

        embed_images(make("exported"), folder_items(make("photos")), folder / name)

    makers = {
        "photos": images,
        "sketches": images,
        "cat.jpg": lambda name: Image.new("L", (28, 28), 255).save(folder / name),
        "runs/a": run,
        "runs/a_10pct": lambda name: shutil.copytree(make("runs/a"), folder / name),  # its probe answers
        "exported": lambda name: tfcontrastive.export.save_model(tiny_model(), folder / name),
        "vectors": vectors,
    }

    @functools.cache
    def make(name):
        makers[name](name)
        return folder / name

    def put(code):
        """Copies what an example reads to where it runs; what it writes itself is not there."""
        for name in makers:
            if re.search(rf'(?<!model_dir=)"(folder:)?{re.escape(name)}(/\d+)?"', code):
                made, here = make(name), pathlib.Path(name)
                here.parent.mkdir(exist_ok=True)
                shutil.copytree(made, here) if made.is_dir() else shutil.copy(made, here)

    return put


def smaller(code):
    for said, run in SMALLER.items():
        code = re.sub(said, run, code)
    return code


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize(("name", "module", "text", "line"), EXAMPLES)
def test_an_example_gives_what_it_shows(name, module, text, line, made, embedded, tmp_path, monkeypatch):
    test = doctest.DocTestParser().get_doctest(text, {}, name, f"{module}", line)
    for example in test.examples:
        if not module.startswith("tfcontrastive.optimizers."):  # whose examples are of the numbers themselves
            example.source = smaller(example.source)
        compile(example.source, name, "single")
    if name in NOT_RUN:
        return
    code = "".join(example.source for example in test.examples)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TfdsSource, "embedded", embedded if module.startswith("tfcontrastive.data.") else few_images)
    made(code)
    keras.utils.set_random_seed(0)
    test.globs = Names(importlib.import_module(module))
    test.globs.add_given(code)
    told = []
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    results = doctest.DocTestRunner(checker=Checker(), optionflags=flags).run(test, out=told.append, clear_globs=False)
    assert results.failed == 0, "".join(told)


def test_readmes_program_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(TfdsSource, "embedded", few_images)
    exec(compile(smaller(code), "README.md", "exec"), {})
    assert "'knn_top1': " in capsys.readouterr().out
    assert (tmp_path / "exported" / "1" / "saved_model.pb").exists()
    (same,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "train.md").read_text(encoding="utf-8"), re.S)
    assert code.startswith(same)


def test_what_is_not_run_is_there():
    assert set(NOT_RUN) <= {example.id for example in EXAMPLES}


def test_no_docstring_has_code_that_is_not_run():
    for room in PACKAGES:
        for path in (ROOT / room).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                    assert "```python" not in (ast.get_docstring(node) or ""), path
