"""A student learns from a teacher: its objective, its teachers, resuming, and that it is worth the trouble."""

import json
import pathlib
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.downstream.test_finetune import argv, fails
from tfcontrastive import data
from tfcontrastive.commands.main import main
from tfcontrastive.config import DataConfig, EncoderConfig, OptimizerConfig, RunConfig
from tfcontrastive.downstream.distill import DistillConfig, Distilling, TeacherMatch, distill, distillation
from tfcontrastive.downstream.finetune import encoder_of
from tfcontrastive.downstream.teacher import Teacher
from tfcontrastive.pretrained.trained import load_trained

IMAGES = tf.constant(np.random.RandomState(0).rand(5, 8, 8, 3), tf.float32)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory, dataset, pretrained):
    path = tmp_path_factory.mktemp("teacher") / "run"
    assert main(argv(checkpoint=pretrained, dataset=dataset, output_dir=path, fine_tune_after_block=4)) == 0
    return str(path)


def config(teacher, dataset, model_dir, **changes):
    loop = RunConfig(model_dir=str(model_dir), train_batch_size=8, train_steps=4, checkpoint_steps=1)
    return DistillConfig(
        **{
            "teacher": teacher,
            "data": DataConfig(dataset=dataset, image_size=8),
            "optimizer": OptimizerConfig(warmup_epochs=0.0),
            "loop": loop,
            **changes,
        }
    )


def test_the_objective_mixes_the_teacher_with_the_labels_that_are_known():
    rng = np.random.RandomState(0)
    student, answers = rng.randn(4, 3), rng.randn(9, 3)
    batch = {"label": tf.constant([0, 1, 2, 0]), "index": tf.constant([2, 5, 7, 1])}
    labelled = np.zeros(9, bool)
    labelled[[2, 7]] = True
    match = TeacherMatch(
        None, temperature=0.5, alpha=0.25, cached=tf.constant(answers, tf.float32), labelled=tf.constant(labelled)
    )
    loss, metrics = match(None, tf.constant(student, tf.float32), batch)

    def softmax(x):
        return np.exp(x) / np.exp(x).sum()

    expected = 0.0
    for row, index in enumerate([2, 5, 7, 1]):
        expected -= 0.25 * (softmax(answers[index] / 0.5) * np.log(softmax(student[row] / 0.5))).sum() / 4
    for row, label in ((0, 0), (2, 2)):
        expected -= 0.75 * np.log(softmax(student[row])[label]) / 2
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    agree = np.mean(student.argmax(axis=1) == answers[[2, 5, 7, 1]].argmax(axis=1))
    np.testing.assert_allclose(metrics["teacher_agreement"], agree)


def test_a_run_and_its_export_are_one_teacher(teacher):
    run, export = Teacher(teacher), Teacher(f"{teacher}/saved_model")
    assert run.num_classes == export.num_classes == 4
    np.testing.assert_allclose(run(IMAGES), export(IMAGES), atol=1e-5)


def test_without_flags_the_student_is_a_new_network_like_the_teachers_encoder(teacher, dataset):
    job = distillation(config(teacher, dataset, "never written")).prepare()
    student, encoder = job.model.trunk, job.teacher.encoder
    assert [tuple(v.shape) for v in student.variables] == [tuple(v.shape) for v in encoder.variables]
    assert load_trained(checkpoint=teacher).encoder.output_shape == (None, 32)  # this one has a layer of the head
    assert not np.array_equal(student(IMAGES), encoder(IMAGES))


def test_the_encoder_of_a_trunk_is_all_that_takes_its_images():
    images = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.layers.Conv2D(4, 3), keras.layers.GlobalAveragePooling2D()])
    encoder = keras.Model(images, inner(keras.layers.Rescaling(255.0)(images)), name="wants_255")  # as EfficientNet
    head = encoder_of(keras.Model(images, keras.layers.ReLU()(encoder(images)), name="wants_255_with_head"))
    assert encoder_of(encoder) is encoder
    assert head is encoder


def test_a_dry_run_asks_the_teacher_nothing_and_writes_nothing(teacher, dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(Distilling, "answers", lambda *_: pytest.fail("a dry run has asked the teacher"))
    flags = {"teacher": teacher, "dataset": dataset, "output_dir": tmp_path / "run", "teacher_logits": "cached"}
    assert main([*argv("distill", **flags), "--dry_run"]) == 0
    text = capsys.readouterr().out
    for part in ("[distill]", "96 training images", "held out        test", "parameters", "learning rate"):
        assert part in text
    assert not (tmp_path / "run").exists()
    fails(capsys, [*argv("distill", **{**flags, "image_size": 16, "teacher": f"{teacher}/saved_model"}), "--dry_run"],
          "`image_size` must be what the teacher takes, 8")  # fmt: skip


def test_resuming_changes_nothing(teacher, dataset, tmp_path):
    class Stop(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 3:
                raise KeyboardInterrupt

    encoder = EncoderConfig(resnet_depth=18, width_multiplier=0.0625)
    changes = {"ema_decay": 0.9, "fine_tune_after_block": 3, "encoder": encoder}
    straight = distill(config(teacher, dataset, tmp_path / "straight", **changes))
    with pytest.raises(KeyboardInterrupt):
        distill(config(teacher, dataset, tmp_path / "stopped", **changes), callbacks=[Stop()])
    resumed = distill(config(teacher, dataset, tmp_path / "stopped", **changes))
    for one, other in zip(straight.model.variables, resumed.model.variables, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy(), err_msg=one.path)
    assert resumed.metrics == straight.metrics
    own = json.loads(pathlib.Path(teacher, "result.json").read_text())["eval_top1"]
    assert resumed.metrics["teacher_top1"] == pytest.approx(own)


def test_cached_answers_are_the_teachers_of_the_whole_images_and_are_asked_for_once(teacher, dataset, tmp_path):
    settings = config(teacher, dataset, tmp_path / "run", teacher_logits="cached", fine_tune_after_block=4)
    distill(settings)
    answers = np.load(tmp_path / "run" / "teacher_logits.npy")
    images, _ = data.load(dataset).arrays("train")
    np.testing.assert_allclose(answers, Teacher(teacher)(tf.constant(images / 255.0, tf.float32)), atol=1e-5)
    np.save(tmp_path / "run" / "teacher_logits.npy", answers + 1)
    job = distillation(settings).prepare()
    np.testing.assert_allclose(job.model.objective.cached, answers + 1)


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        ({"teacher": ""}, ["`teacher` must be"]),
        ({"teacher": "/no/model"}, ["/no/model"]),
        ({"image_size": 16, "teacher": "its export"}, ["`image_size` must be what the teacher takes, 8", "16"]),
        ({"label_fraction": 0.5}, ["`label_fraction` needs `alpha` < 1"]),
        ({"temperature": 0}, ["`temperature` must be > 0"]),
        ({"teacher_logits": "some"}, ["`teacher_logits` must be one of"]),
        ({"dataset": "embedded", "image_size": 8}, ["`channels` must be what the teacher takes, 3"]),
    ],
)
def test_a_wrong_flag(capsys, tmp_path, dataset, teacher, flags, parts):
    flags = {"teacher": teacher, "dataset": dataset, "output_dir": tmp_path / "run", **flags}
    if flags["teacher"] == "its export":
        flags["teacher"] = f"{teacher}/saved_model"
    fails(capsys, argv("distill", **flags), *parts)
    assert not (tmp_path / "run").exists()


def test_images_have_the_channels_that_a_teacher_takes(tmp_path, monkeypatch):
    Image.new("RGB", (8, 8), "teal").save(tmp_path / "a.png")
    gray = types.SimpleNamespace(channels=1, image_size=8, num_classes=2, check=lambda **_: None)
    monkeypatch.setattr("tfcontrastive.downstream.distill.Teacher", lambda path: gray)
    assert distillation(config("gray", f"folder:{tmp_path}", tmp_path / "run")).source.channels == 1
