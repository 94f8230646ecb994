"""A run whose features are whitened: by which images, at which steps, and what is read of it afterwards."""

import dataclasses
import glob

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.commands.runs import ONE_BLOCK, RESNET, write_images
from tfcontrastive import evaluate
from tfcontrastive.config import (
    DataConfig,
    EncoderConfig,
    InputError,
    LoopConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
)
from tfcontrastive.config.finetune import FinetuneConfig
from tfcontrastive.data import eval_batches
from tfcontrastive.downstream.finetune import finetune
from tfcontrastive.encoders import Whitening
from tfcontrastive.encoders.whitening import before_whitening, whitening_of
from tfcontrastive.export import save_model
from tfcontrastive.methods import SimCLRConfig
from tfcontrastive.pretrained.trained import load_trained
from tfcontrastive.runs.load_run import load_run
from tfcontrastive.runs.pretrain import pretraining, train

KERNEL = "model/encoder/feature_whitening/kernel"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_images(tmp_path_factory.mktemp("data") / "images.npz")


def config(dataset, model_dir, **loop):
    return TrainConfig(
        method_config=SimCLRConfig(proj_out_dim=8),
        data=DataConfig(dataset=dataset, image_size=8, train_split="train[:75%]", eval_split="train[75%:]"),
        encoder=EncoderConfig(**RESNET, whiten_features=True),
        optimizer=OptimizerConfig(optimizer="adam", learning_rate=0.01, warmup_epochs=0.0),
        loop=LoopConfig(
            model_dir=str(model_dir), train_batch_size=16, mixed_precision="float32",
            **{"train_steps": 7, "checkpoint_steps": 2, "knn_epochs": 1, **loop},
        ),
    )  # fmt: skip


def tensors(model_dir, step) -> dict[str, np.ndarray]:
    (path,) = glob.glob(f"{model_dir}/checkpoints/step-{step}.index")
    reader = tf.train.load_checkpoint(path.removesuffix(".index"))
    names = [name for name in reader.get_variable_to_shape_map() if name.endswith("VARIABLE_VALUE")]
    return {name.removesuffix("/.ATTRIBUTES/VARIABLE_VALUE"): reader.get_tensor(name) for name in names}


@pytest.fixture(scope="module")
def result(dataset, tmp_path_factory):
    return train(config(dataset, tmp_path_factory.mktemp("whitened") / "run"))


def images_of(result, split):
    return eval_batches(result.source, split, batch_size=16, image_size=8)


def test_a_run_ends_with_features_whitened_by_its_training_images(result):
    encoder = result.model.encoder
    before, _ = evaluate.extract_features(before_whitening(encoder), images_of(result, "train[:75%]"))
    expected = Whitening()
    expected.build((None, before.shape[1]))
    expected.fit(before)
    np.testing.assert_array_equal(whitening_of(encoder).kernel, expected.kernel)
    held, labels = evaluate.extract_features(encoder, images_of(result, "train[75%:]"))
    memory, known = evaluate.extract_features(encoder, images_of(result, "train[:75%]"))
    scores = evaluate.knn_scores(memory, known, held, num_classes=4, k=12, temperature=0.1)
    assert result.metrics["knn_top1"] == pytest.approx(evaluate.top_k_accuracy(scores, labels, 1))


def test_checkpoints_inside_of_an_epoch_hold_features_as_they_are(result):
    model_dir, width = result.config.loop.model_dir, result.model.num_features
    np.testing.assert_array_equal(tensors(model_dir, 4)[KERNEL], np.eye(width))  # 48 images: an epoch is of 3 steps
    assert not np.array_equal(tensors(model_dir, 7)[KERNEL], np.eye(width))


def test_what_is_trained_is_what_a_run_without_it_trains(result, dataset, tmp_path):
    plain = config(dataset, tmp_path / "plain")
    plain = dataclasses.replace(plain, encoder=dataclasses.replace(plain.encoder, whiten_features=False))
    train(plain)
    expected, found = tensors(tmp_path / "plain", 7), tensors(result.config.loop.model_dir, 7)
    assert found.keys() - expected.keys() == {KERNEL, KERNEL.replace("kernel", "mean")}
    for name, value in expected.items():
        if not name.startswith("epoch_sums") and name != "save_counter":
            np.testing.assert_array_equal(value, found[name], err_msg=name)


def test_a_run_that_stopped_after_a_measurement_ends_as_one_that_did_not(result, dataset, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                raise KeyboardInterrupt

    stopped = config(dataset, tmp_path / "stopped", checkpoint_steps=3)
    with pytest.raises(KeyboardInterrupt):
        train(stopped, callbacks=[Stop()])
    train(stopped)
    expected, found = tensors(result.config.loop.model_dir, 7), tensors(tmp_path / "stopped", 7)
    for name, value in expected.items():
        if name != "save_counter":
            np.testing.assert_array_equal(value, found[name], err_msg=name)


def test_a_run_that_has_not_ended_is_said_to_be_not_whitened(result, dataset, tmp_path, caplog):
    class Stop(keras.callbacks.Callback):
        steps = 0

        def on_train_batch_end(self, batch, logs=None):
            self.steps += 1
            if self.steps == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config(dataset, tmp_path / "stopped"), callbacks=[Stop()])
    load_run(result.config.loop.model_dir)
    assert "not whitened" not in caplog.text
    assert load_run(tmp_path / "stopped").step == 4
    assert f"{tmp_path / 'stopped'} has not ended: its features are as they are until then, not whitened" in caplog.text


def test_what_is_loaded_has_the_whitened_features_and_no_heads(result):
    images = next(iter(images_of(result, "train")))["image"]
    expected = result.model.encoder(images, training=False)
    trained = load_trained(checkpoint=result.config.loop.model_dir)
    np.testing.assert_allclose(trained(images), expected, rtol=1e-5, atol=1e-5)
    assert trained.projection_head is trained.supervised_head is None
    larger = load_trained(checkpoint=result.config.loop.model_dir, image_size=16)
    assert whitening_of(larger.encoder).fitted


@pytest.mark.parametrize("optimize", [True, False])
def test_an_export_has_the_whitened_features_and_no_heads(result, tmp_path, optimize):
    images = next(iter(images_of(result, "train")))["image"]
    run = load_run(result.config.loop.model_dir)
    loaded = tf.saved_model.load(save_model(run.model, str(tmp_path / "export"), optimize=optimize))
    expected = run.model.encoder(images, training=False)
    np.testing.assert_allclose(loaded(images, training=False), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(loaded.signatures["serving_default"](images=images)["embedding"], expected, 1e-4, 1e-4)
    found = loaded.signatures["features"](images=images)
    np.testing.assert_allclose(found["embedding"], expected, rtol=1e-4, atol=1e-4)
    assert not [name for name in found if "proj" in name or "logits" in name]


def test_replicas_end_with_one_whitening(dataset, tmp_path):
    done = train(config(dataset, tmp_path / "replicas", strategy="mirrored", num_virtual_replicas=2, train_steps=3))
    before, _ = evaluate.extract_features(before_whitening(done.model.encoder), images_of(done, "train[:75%]"))
    kernel = whitening_of(done.model.encoder).kernel.value
    first, second = done.model.distribute_strategy.experimental_local_results(kernel)
    np.testing.assert_array_equal(first, second)
    expected = Whitening()
    expected.build((None, before.shape[1]))
    expected.fit(before)
    np.testing.assert_allclose(first, expected.kernel, rtol=1e-4, atol=1e-4)


def test_fine_tuning_starts_from_the_whitened_features_and_not_from_a_head(result, dataset, tmp_path):
    tuning = FinetuneConfig(
        checkpoint=result.config.loop.model_dir,
        data=result.config.data,
        encoder=None,
        optimizer=OptimizerConfig(optimizer="momentum", learning_rate=0.1, warmup_epochs=0.0),
        loop=RunConfig(
            model_dir=str(tmp_path / "tuned"), train_batch_size=16, train_steps=1, mixed_precision="float32"
        ),
    )
    trunk = finetune(tuning).model.trunk
    np.testing.assert_array_equal(whitening_of(trunk).kernel, whitening_of(result.model.encoder).kernel)
    again = dataclasses.replace(
        tuning, ft_proj_selector=1, loop=dataclasses.replace(tuning.loop, model_dir=str(tmp_path / "again"))
    )
    with pytest.raises(InputError, match=r"`ft_proj_selector` must be 0 .* they are whitened"):
        finetune(again)


def test_an_encoder_without_such_a_layer_says_so(dataset, tmp_path, caplog):
    other = config(dataset, tmp_path / "other")
    other = dataclasses.replace(other, encoder=EncoderConfig(**ONE_BLOCK, whiten_features=True))
    with caplog.at_level("INFO", logger="absl"):
        pretraining(other).prepare()
    assert "`whiten_features` has no effect: vit_small does not end in such a layer." in caplog.text


def test_whitened_towers_are_refused(dataset, tmp_path):
    from tfcontrastive.methods import CMCConfig

    towers = dataclasses.replace(config(dataset, tmp_path / "towers"), method="cmc", method_config=CMCConfig())
    with pytest.raises(InputError, match="`whiten_features` must be false of towers"):
        train(towers)
