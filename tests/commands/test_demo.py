"""The demo, end to end, on fewer images, for fewer epochs and half as wide: one run that all tests here look at."""

import functools
import json

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

from tfcontrastive import data, evaluate
from tfcontrastive.commands import demo as command
from tfcontrastive.commands.main import main
from tfcontrastive.encoders.whitening import before_whitening
from tfcontrastive.fitting import leaving, page
from tfcontrastive.fitting.stages import fresh_encoder
from tfcontrastive.runs.load_run import load_run
from tfcontrastive.runs.pretrain import batches


def argv(path):
    return ["demo", f"--output_dir={path}", "--train_epochs=16", "--train_split=train[:10%]"]


@pytest.fixture(scope="module", autouse=True)
def half_as_wide():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "demo_config", functools.partial(command.demo_config, width_multiplier=0.125))
        patch.setattr(page, "_POINTS", 200)  # of the map, which takes longer than the training
        patch.setattr(leaving, "check", lambda saved_model: [])  # tests/fitting/test_fit.py tries one out
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    path = tmp_path_factory.mktemp("demo") / "run"
    assert main(argv(path)) == 0
    return path


@pytest.fixture(scope="module")
def metrics(demo):
    return json.loads((demo / "metrics.json").read_text())


def before_whitening_top1(encoder, source, k):
    """kNN accuracy of the test images by the features that enter the whitening."""
    before = before_whitening(encoder)

    def features(split):
        return evaluate.extract_features(before, data.eval_batches(source, split, batch_size=256, image_size=28))

    held = evaluate.LabelledFeatures(*features("train[:10%]"), *features("test"), 10)
    return evaluate.KNN(k=k).measure(held)["knn_top1"]


def test_the_trained_encoder_beats_the_random_one(demo, metrics):
    run, source = load_run(demo), data.load("embedded")
    trained, random = run.model.encoder, fresh_encoder(run.config, source)
    some = batches(run.config, run.model, source, 0).take(20)
    evaluate.settle_statistics(random, (batch["views"][0] for batch in some))
    # Whitened, 1,000 images leave an untrained network with nearly as much: what training adds is seen before.
    k = int(metrics["trained"]["knn_k"])
    assert before_whitening_top1(trained, source, k) >= before_whitening_top1(random, source, k) + 0.03
    for probe in ("knn_top1", "linear_top1"):
        assert metrics["trained"][probe] > metrics["random"][probe]


def test_metrics_have_every_encoder_and_the_time(metrics):
    for name in ("random", "trained", "supervised"):
        assert {"knn_top1", "linear_top1"} <= set(metrics[name])
    assert metrics["seconds"] > 0


def test_the_report_has_its_sections_and_loads_nothing(demo):
    page = (demo / "report.html").read_text()
    for heading in ("Results", "Curves", "Augmented views", "Nearest neighbours", "Map of the embedding"):
        assert f">{heading}</h2>" in page
    assert 'src="http' not in page
    assert 'href="http' not in page


def test_tensorboard_has_scalars_pictures_and_the_projector(demo):
    tags = set()
    for path in (demo / "logs").glob("events.*"):
        for record in tf.data.TFRecordDataset(str(path)):
            tags |= {value.tag for value in event_pb2.Event.FromString(record.numpy()).summary.value}
    train = {"loss", "images_per_second", "contrast_acc", "alignment", "uniformity", "embedding_std", "augmented_views"}
    assert {f"train/{name}" for name in train} <= tags
    assert {"optimizer/learning_rate", "eval/effective_rank", "eval/knn_top1"} <= tags
    assert {"projector_config.pbtxt", "metadata.tsv", "sprite.png"} <= {path.name for path in (demo / "logs").iterdir()}


def test_the_saved_model_gives_the_features_that_were_measured(demo, metrics):
    model = tf.saved_model.load(str(demo / "saved_model" / "1"))
    images, labels = data.load("embedded").arrays("test")
    serve = model.signatures["serving_default"]
    features = serve(images=tf.cast(images[:200], tf.float32) / 255)["embedding_l2"].numpy()
    nearest = np.argsort(-features @ features.T, axis=1)[:, 1]
    assert np.mean(labels[:200][nearest] == labels[:200]) > 0.4
    assert features.shape == (200, 16 * 8 + 16 * 16)


def test_started_again_it_only_measures(demo, metrics, monkeypatch):
    monkeypatch.setattr(evaluate.Linear, "measure", lambda *_: {"linear_top1": 0.5})  # a third of the time
    lists = [demo / "checkpoints" / "checkpoint", demo / "supervised" / "checkpoints" / "checkpoint"]
    before = [path.read_bytes() for path in lists]
    assert main(argv(demo)) == 0
    assert [path.read_bytes() for path in lists] == before
    again = json.loads((demo / "metrics.json").read_text())
    assert [again[name]["knn_top1"] for name in ("trained", "supervised")] == [
        metrics[name]["knn_top1"] for name in ("trained", "supervised")
    ]


def test_the_minutes_set_the_length_which_a_second_start_keeps(tmp_path, monkeypatch):
    from tfcontrastive.fitting import stages as module
    from tfcontrastive.runs.pace import Pace
    from tfcontrastive.runs.schedule import filled_in
    from tfcontrastive.system.stages import Stages

    config, pace = command.demo_config(str(tmp_path / "run")), [Pace(10.0, 0.2)]
    monkeypatch.setattr(module, "measure_pace", lambda config, source: (filled_in(config, 10_000)[0], pace[0]))

    def decided(minutes, **how):
        one = module.Fitting(command.demo_request(config, minutes), stages=Stages([]), **how)
        return one.decide(*one.look())[0].config

    fast = decided(6)
    assert 350 < fast.loop.train_steps < 700  # of 0.2 s, beside as much for the rest, in what is left of 360 s
    assert fast.optimizer.warmup_epochs <= fast.loop.train_steps * 128 / 10_000 / 10 + 0.01
    pace[0] = Pace(10.0, 0.01)
    assert decided(12) == fast
    assert decided(6, overwrite=True).loop.train_steps > 5000
