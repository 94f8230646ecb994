"""A student learns a teacher's features: its step, its targets, resuming, what it leaves, and what is refused."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import ONE_BLOCK, write_images
from tests.downstream.test_finetune import fails
from tfcontrastive import distribute, losses
from tfcontrastive.commands.export import load_run
from tfcontrastive.commands.main import main
from tfcontrastive.config import DataConfig, EncoderConfig, OptimizerConfig, RunConfig
from tfcontrastive.config.distill_features import FeatureDistillConfig
from tfcontrastive.downstream.distill import distill
from tfcontrastive.downstream.distill_features import feature_distillation
from tfcontrastive.downstream.student import Student
from tfcontrastive.pretrained.trained import Trained, load

STEPS = {
    "image_size": 8, "train_batch_size": 8, "train_steps": 4, "checkpoint_steps": 1, "knn_k": 5, "warmup_epochs": 0,
    "mixed_precision": "float32",
}  # fmt: skip


def argv(**flags):
    chosen = {"from": "features", **STEPS, **ONE_BLOCK, "feature_loss": "similarity", "queue_size": 16, **flags}
    return ["distill", *(f"--{name}={value}" for name, value in chosen.items())]


def config(teacher, dataset, model_dir, **changes):
    """What `argv` says."""
    loop = {name: STEPS[name] for name in ("train_batch_size", "train_steps", "checkpoint_steps", "mixed_precision")}
    parts = {
        "teacher": teacher,
        "feature_loss": "similarity",
        "queue_size": 16,
        "knn_k": 5,
        "data": DataConfig(dataset=dataset, image_size=8),
        "encoder": EncoderConfig(**ONE_BLOCK),
        "optimizer": OptimizerConfig(**{**FeatureDistillConfig().optimizer.__dict__, "warmup_epochs": 0.0}),
        "loop": RunConfig(model_dir=str(model_dir), train_epochs=50, **loop),
    }
    return FeatureDistillConfig(**{**parts, **changes})


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """The place of an encoder of two layers, which teaches in every test here."""
    keras.utils.set_random_seed(0)
    encoder = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(32)])
    found = Trained(encoder, None, None, 8, 3, "a small one", facts={"family": "small", "licence": "for everybody"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tfcontrastive.downstream.distill_features.load", lambda path, image_size: found)
        yield str(tmp_path_factory.mktemp("teacher"))


@pytest.fixture(scope="module")
def run(tmp_path_factory, dataset, teacher):
    """A run that was stopped after three steps and started again by the command."""
    path = tmp_path_factory.mktemp("student") / "run"

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if distribute.step_of(self.model) == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(config(teacher, dataset, path), callbacks=[Stop()])
    with pytest.MonkeyPatch.context() as patch:  # an export is as of any encoder, and takes longest
        patch.setattr("tfcontrastive.export.save_once", lambda encoder, base, **options: f"{base}/1")
        assert main(argv(teacher=teacher, dataset=dataset, output_dir=path)) == 0
    return path


def test_resuming_changes_nothing(run, dataset, teacher, tmp_path):
    straight = distill(config(teacher, dataset, tmp_path / "straight", feature_cache=str(run / "features")))
    assert not (tmp_path / "straight" / "features").exists()
    one, other = (
        tf.train.load_checkpoint(str(path / "checkpoints" / "step-4")) for path in (run, tmp_path / "straight")
    )
    names = [name for name in one.get_variable_to_shape_map() if name.startswith(("model/", "optimizer/"))]
    assert any("queue/rows" in name for name in names)
    for name in names:
        np.testing.assert_array_equal(one.get_tensor(name), other.get_tensor(name), err_msg=name)
    stored = json.loads((run / "result.json").read_text())
    assert stored == pytest.approx({"step": 4, **straight.metrics}, abs=1e-12)


def test_it_leaves_what_a_run_leaves(run, dataset, teacher):
    result = json.loads((run / "result.json").read_text())
    assert result["knn_top1_low"] <= result["knn_top1"] <= result["knn_top1_high"]
    assert result["knn_kept"] == pytest.approx(result["knn_top1"] / result["teacher_knn_top1"])
    assert {"effective_rank", "teacher_effective_rank", "feature_cosine"} <= set(result)
    last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["loss"] >= last["target_entropy"] > 0
    page = (run / "report.html").read_text().replace("<wbr>", "")
    for part in (
        "Distillation from features",
        "Against chance",
        "Kept of it",
        "4 crops and flips of each of 96 images",
    ):
        assert part in page
    student, again = load(str(run)), load_run({"model_dir": str(run), "image_size": None})  # of `export`
    assert student.name == f"distilled from {teacher}, step 4 of {run}"
    assert (again.step, again.config.data.image_size, again.card["metrics"]["knn_top1"]) == (4, 8, result["knn_top1"])


def test_evaluating_alone_repeats_the_result(run, dataset, teacher):
    before = json.loads((run / "result.json").read_text())
    (run / "result.json").unlink()
    assert main(argv(teacher=teacher, dataset=dataset, output_dir=run, mode="eval")) == 0
    assert json.loads((run / "result.json").read_text()) == pytest.approx(before)


def test_a_target_is_what_the_teacher_says_of_the_view_that_the_student_sees(run, dataset, teacher):
    made = feature_distillation(config(teacher, dataset, run)).prepare()
    made.make_ready(lambda line: pytest.fail(line))  # all is there
    batch = next(iter(made.batches(2)))
    said = losses.common.l2_normalize(made.teacher(batch["views"][0]))
    np.testing.assert_allclose(batch["target"], said, atol=1e-3)
    # A new run's queue holds what the teacher says of other images.
    held = made.model.queue.rows.numpy()
    np.testing.assert_allclose(np.linalg.norm(held, axis=1), 1, atol=1e-3)
    np.testing.assert_array_equal(held[1], made.cache.rows(np.array([6]), np.array([0]))[0])


def step(loss, strategy):
    """A student after two steps of eight images."""
    rng = np.random.default_rng(0)
    with strategy.scope():
        keras.utils.set_random_seed(0)
        encoder = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(5)])
        student = Student(encoder, 3, FeatureDistillConfig(feature_loss=loss), queue_size=16)
        student.compile(keras.optimizers.SGD(0.5))
    batches = {
        "views": (rng.random((16, 2, 2, 1), np.float32),),
        "seeds": np.zeros((16, 1, 2), np.int32),
        "target": rng.standard_normal((16, 3)).astype(np.float32),
    }
    student.fit(tf.data.Dataset.from_tensor_slices(batches).batch(8, drop_remainder=True), verbose=0, shuffle=False)
    return student, batches


@pytest.mark.parametrize("loss", ["similarity", "regression"])
def test_two_replicas_are_one(loss, two_replicas):
    (one, batches), (two, _) = step(loss, tf.distribute.get_strategy()), step(loss, two_replicas)
    for mine, theirs in zip(one.weights, two.weights, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=1e-5, atol=1e-6)
    if one.queue is not None:
        np.testing.assert_array_equal(one.queue.keys(), batches["target"])


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"from": "pixels"}, ["`from` must be one of features, logits", "'pixels'"]),
        ({"teacher": ""}, ["`teacher` must be given"]),
        ({"teacher": "/no/model"}, ["`teacher` must be", "/no/model"]),
        ({"feature_loss": "kl"}, ["`feature_loss` must be one of"]),
        ({"queue_size": 12}, ["`queue_size` must be a multiple of the keys of a step, 8", "8 or 16"]),
        ({"small_views": 2}, ["`small_views` must be left out here"]),
        ({"dataset": "embedded"}, ["`dataset` must have images of 3 channels"]),
        ({"alpha": 0.5}, ["`--alpha` is not a flag"]),
    ],
)
def test_a_wrong_flag(capsys, tmp_path, dataset, teacher, flags, parts):
    fails(capsys, argv(**{"teacher": teacher, "dataset": dataset, "output_dir": tmp_path / "run", **flags}), *parts)
    assert not (tmp_path / "run").exists()


def test_a_student_without_a_network_is_refused(capsys, tmp_path, dataset, teacher):
    words = ["distill", "--from=features", f"--teacher={teacher}", f"--dataset={dataset}"]
    fails(capsys, [*words, f"--output_dir={tmp_path / 'run'}"], "`encoder` must be given: the student")


def test_features_of_other_images_are_refused(capsys, tmp_path, run, teacher):
    other = write_images(tmp_path / "other.npz", count=96)
    flags = {"teacher": teacher, "dataset": other, "output_dir": tmp_path / "run", "feature_cache": run / "features"}
    fails(capsys, argv(**flags), "`feature_cache` must be new", "another images (digest: ")
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_both_networks_and_writes_nothing(capsys, tmp_path, dataset, teacher):
    flags = {"teacher": teacher, "dataset": dataset, "output_dir": tmp_path / "run"}
    assert main([*argv(**flags), "--dry_run"]) == 0
    text = capsys.readouterr().out
    for part in ("[distill_features]", "96 training images", "a small one: 32 features of 8 x 8 pixels",
                 "96 images in 4 views", "0 of 1 shards are there", "licence         for everybody",
                 "of the teacher's"):  # fmt: skip
        assert part in text
    assert not (tmp_path / "run").exists()
