"""`tfcontrastive evaluate` from its command line: one encoder, many protocols, one directory of results."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.commands.runs import argv
from tfcontrastive.commands.main import main
from tfcontrastive.encoders import ResNet
from tfcontrastive.pretrained.trained import load_trained
from tfcontrastive.protocols import PROTOCOLS


def squares(path, train_labels, test_labels, size=8, channels=3):
    """An npz file of squares whose lightness tells the class; returns the value for --dataset."""
    rng = np.random.default_rng(0)

    def draw(labels):
        pixels = (
            20 + 50 * np.asarray(labels)[:, None, None, None] + rng.integers(0, 20, (len(labels), size, size, channels))
        )
        return pixels.astype(np.uint8), np.asarray(labels)

    (x_train, y_train), (x_test, y_test) = draw(train_labels), draw(test_labels)
    np.savez(path, x_train=x_train, y_train=y_train, x_test=x_test, y_test=y_test)
    return f"npz:{path}"


def save_mean(path, scale=1.0):
    """A SavedModel of another's making: images -> their mean color."""

    class Mean(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None, 8, 8, 3]), tf.TensorSpec([], tf.bool)])
        def __call__(self, images, training):
            return scale * tf.reduce_mean(images, [1, 2])

    tf.saved_model.save(Mean(), str(path))
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def dataset(home):
    return squares(home / "squares.npz", np.arange(48) % 4, np.arange(20) % 4)


@pytest.fixture(scope="module")
def run(home, dataset):
    tiny = {"encoder": "vit_small", "vit_depth": 1, "width_multiplier": 0.17, "patch_size": 4, "num_proj_layers": 1}
    assert main(argv(dataset, home / "run", train_steps=2, **tiny)) == 0
    return home / "run"


def evaluate(protocol, dataset, output_dir, *more):
    given = [f"--dataset={dataset}"] if dataset else []
    return main(["evaluate", f"--protocol={protocol}", *given, f"--output_dir={output_dir}", *more])


def stored(output_dir):
    return json.loads((output_dir / "metrics.json").read_text())


def one_line(capsys, *parts):
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tfcontrastive: ")]
    assert len(lines) == 1
    for part in parts:
        assert part in lines[0]


def test_protocols_stand_side_by_side(run, dataset, tmp_path, capsys):
    out = tmp_path / "results"
    assert evaluate("knn", dataset, out, f"--checkpoint={run}", "--k=5") == 0
    text = capsys.readouterr().out
    assert "k = 5 at most; temperature 0.1." in text
    assert "mean accuracy over the classes" in text
    # The same weights, loaded from another place.
    assert evaluate("linear", dataset, out, f"--saved_model={run / 'saved_model'}", "--seeds=0,1") == 0
    assert "±" in capsys.readouterr().out
    assert evaluate("knn", dataset, out, f"--checkpoint={run}", "--k=5") == 0  # takes the place of the first
    # Stands beside it.
    assert evaluate("knn", dataset, out, f"--checkpoint={run}", "--k=1", "--baselines=all") == 0

    results = stored(out)["results"]
    assert [(one["protocol"], one["settings"].get("k")) for one in results] == [
        ("linear", None),
        ("knn", 5),
        ("knn", 1),
    ]
    linear = results[0]
    runs = [linear["runs"][seed]["linear_top1"] for seed in "01"]
    assert linear["metrics"]["linear_top1"] == pytest.approx(np.mean(runs))
    assert linear["deviations"]["linear_top1"] == pytest.approx(np.std(runs, ddof=1))
    assert [(one["class"], one["test"]) for one in linear["by_class"]] == [(name, 5) for name in "0123"]
    assert np.mean([one["recall"] for one in linear["by_class"]]) == pytest.approx(np.mean(runs))
    page = (out / "report.html").read_text().replace("<wbr>", "")
    assert "<h2>By class: Linear classifier (L-BFGS)</h2>" in page
    assert page.count("<h2>kNN on npz:") == 2
    compared = [list(one["baselines"]) for one in results]
    assert compared == [[], ["raw pixels"], ["raw pixels", "untrained network"]]
    assert set(results[1]["baselines"]["raw pixels"]) == set(results[1]["metrics"])
    assert results[1]["images"] == {"train": 48, "test": 20, "classes": 4, "largest_class": 0.25}
    assert [one["predictions"] for one in results] == [None, "predictions_knn.npz", "predictions_knn_1.npz"]
    with np.load(out / "predictions_knn.npz") as said:
        np.testing.assert_array_equal(said["labels"], np.arange(20) % 4)
        assert np.mean(said["classes"] == said["labels"]) == pytest.approx(results[1]["metrics"]["knn_top1"])
    for part in ("Against chance and baselines", "By class: kNN", "Confusion: kNN", "chance is 25.0%", "above chance",
                 "tfcontrastive evaluate --protocol=knn", "48 training and 20 test images of 4 classes"):  # fmt: skip
        assert part in page
    assert "<h2>Linear classifier (L-BFGS) on npz:" in page
    events = EventAccumulator(str(out / "logs" / "knn"))
    events.Reload()
    assert {"eval/knn_top1", "eval/knn_top5"} <= set(events.Tags()["tensors"])
    assert events.Tensors("eval/knn_top1")[0].step == 2


def test_another_encoders_results_are_kept(run, dataset, tmp_path, capsys):
    out = tmp_path / "results"
    assert evaluate("geometry", dataset, out, f"--checkpoint={run}", "--eval_batch_size=10") == 0
    before = stored(out)
    few = ["--train_images=100", "--eval_images=20", "--contents=4", "--styles=2"]
    assert evaluate("content_style", None, out, f"--checkpoint={run}", *few) == 0
    assert stored(out)["results"][0] == before["results"][0]
    assert stored(out)["results"][1]["dataset"] is None
    capsys.readouterr()
    network = [f"--saved_model={save_mean(tmp_path / 'model')}", "--k=3"]
    assert evaluate("knn", dataset, out, *network) == 2
    one_line(capsys, "`output_dir`", "results of another encoder, simclr, step 2", "--overwrite")
    assert len(stored(out)["results"]) == 2
    assert evaluate("knn", dataset, out, *network, "--overwrite") == 0
    assert [one["protocol"] for one in stored(out)["results"]] == ["knn"]
    assert stored(tmp_path / "results.1")["results"][0] == before["results"][0]


def test_a_network_by_name_tells_whose_its_weights_are(dataset, tmp_path, capsys):
    network = ResNet(18, input_shape=(8, 8, 3))
    network.save_weights(tmp_path / "own.weights.h5")
    argv = ["--encoder=resnet18", "--k=3", "--image_size=8"]
    for weights, name in (("", "random weights"), ("own.weights.h5", f"weights of {tmp_path / 'own.weights.h5'}")):
        out = tmp_path / f"results{weights}"
        assert evaluate("knn", dataset, out, *argv, *([f"--weights={tmp_path / weights}"] if weights else [])) == 0
        assert f"resnet18, {name}" in capsys.readouterr().out
        assert stored(out)["encoder"] == f"resnet18, {name}"
        assert f"resnet18, {name}" in (out / "report.html").read_text().replace("<wbr>", "")
    loaded = load_trained(encoder="resnet18", weights=str(tmp_path / "own.weights.h5"), image_size=8)
    assert stored(tmp_path / "resultsown.weights.h5")["weights"] == loaded.fingerprint()
    for ours, theirs in zip(loaded.encoder.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_published_constants_and_batches_of_the_bound_tell_results_apart(run, dataset, tmp_path):
    sgd = ["--linear_optimizer=moco", "--linear_epochs=1", "--nolinear_augmentation"]
    for _ in range(2):
        assert evaluate("linear", dataset, tmp_path / "out", f"--checkpoint={run}", *sgd) == 0
    for size in (8, 10):
        assert evaluate("geometry", dataset, tmp_path / "out", f"--checkpoint={run}", f"--eval_batch_size={size}") == 0
    results = [(one["protocol"], one["settings"].get("eval_batch_size")) for one in stored(tmp_path / "out")["results"]]
    assert results == [("linear", None), ("geometry", 8), ("geometry", 10)]


def test_what_cannot_be_read_is_moved_aside_only_when_asked_for(run, dataset, tmp_path, capsys):
    out = tmp_path / "results"
    out.mkdir()
    (out / "metrics.json").write_text('{"step": 3}')
    assert evaluate("knn", dataset, out, f"--checkpoint={run}", "--k=1") == 2
    one_line(capsys, "metrics.json must be one of")
    assert evaluate("knn", dataset, out, f"--checkpoint={run}", "--k=1", "--overwrite") == 0
    assert stored(tmp_path / "results.1") == {"step": 3}


def test_replicas_give_the_same_numbers(run, dataset, tmp_path):
    flags = [f"--checkpoint={run}", "--k=3", "--eval_batch_size=7"]
    assert evaluate("knn", dataset, tmp_path / "one", *flags) == 0
    assert evaluate("knn", dataset, tmp_path / "two", *flags, "--num_virtual_replicas=2") == 0
    one, two = (stored(tmp_path / name) for name in ("one", "two"))
    assert one["weights"] == two["weights"]
    assert one["results"][0]["metrics"] == two["results"][0]["metrics"]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_help_tells_a_protocols_own_flags(protocol, capsys):
    assert main(["evaluate", f"--protocol={protocol}", "--help"]) == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(PROTOCOLS[protocol]):
        assert f"--{field.name}" in text
    for name in PROTOCOLS:
        assert f"  {name} " in text


def test_a_class_that_the_test_split_lacks_does_no_harm(run, tmp_path):
    dataset = squares(tmp_path / "some.npz", np.arange(40) % 4, [0, 2, 2, 3])
    for protocol in ("knn", "linear"):
        assert evaluate(protocol, dataset, tmp_path / "results", f"--checkpoint={run}") == 0
    assert all(0 <= one["metrics"][f"{one['protocol']}_top5"] <= 1 for one in stored(tmp_path / "results")["results"])


@pytest.mark.parametrize(
    ("protocol", "flags", "parts"),
    [
        ("knm", ["--encoder=resnet18"], ["`protocol` must be one of", "Did you mean 'knn'"]),
        ("knn", ["--checkpoint={run}", "--max_iter=3"], ["`--max_iter` is not a flag of this", "--protocol=linear"]),
        ("knn", [], ["exactly one of checkpoint, saved_model and encoder", "none"]),
        ("knn", ["--checkpoint={run}", "--encoder=resnet18"], ["exactly one", "checkpoint, encoder"]),
        ("knn", ["--checkpoint={run}", "--weights=a.h5"], ["`weights` is for `encoder`", "checkpoint"]),
        ("knn", ["--encoder=resnet18", "--weights=a.h5"], ["`weights` must be a file", "a.h5"]),
        ("knn", ["--checkpoint={run}", "--seeds=0,1"], ["`seeds` is for protocols with chance"]),
        ("linear", ["--checkpoint={run}", "--seeds=a"], ["`seeds` must be numbers", "'a'"]),
        ("knn", ["--checkpoint=/nowhere"], ["/nowhere"]),
        ("knn", ["--checkpoint={run}", "--dataset={gray}"], ["fit the encoder's input", "8 x 8 x 3", "8 x 8 x 1"]),
        ("knn", ["--saved_model={run}/saved_model", "--image_size=9"], ["`image_size`", "9"]),
        ("knn", ["--checkpoint={run}", "--dataset={differ}"], ["`labels` must hold classes of `train_labels`", "3"]),
        ("linear", ["--checkpoint={run}", "--dataset={differ}"], ["`labels` must hold classes of `train_labels`", "3"]),
        ("knn", ["--checkpoint={run}", "--eval_split=tset"], ["tset", "test"]),
        ("ood", ["--checkpoint={run}"], ["`ood_dataset` must be given"]),
        ("robustness", ["--checkpoint={run}", "--baseline=none.json"], ["`baseline`", "none.json"]),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(protocol, flags, parts, run, dataset, home, tmp_path, capsys):
    names = {
        "run": run,
        "gray": squares(home / "gray.npz", [0, 1, 2, 3] * 3, [0, 1], channels=1),
        "differ": squares(home / "differ.npz", [0, 1, 2] * 3, [0, 3]),
    }
    capsys.readouterr()
    assert evaluate(protocol, dataset, tmp_path / "results", *(flag.format(**names) for flag in flags)) == 2
    one_line(capsys, *parts)
    assert not (tmp_path / "results").exists()


def test_features_that_are_no_numbers(dataset, tmp_path, capsys):
    model = save_mean(tmp_path / "model", scale=float("nan"))
    assert evaluate("knn", dataset, tmp_path / "results", f"--saved_model={model}") == 2
    one_line(capsys, "must be finite; did training diverge? Received: NaN or infinity in row 0")
    assert not (tmp_path / "results").exists()
