"""Every setting of a run reaches what it is about."""

import itertools
import types

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tfcontrastive
from tfcontrastive import augment, data
from tfcontrastive.config import AugmentConfig, DataConfig, EncoderConfig, LoopConfig, OptimizerConfig, TrainConfig
from tfcontrastive.methods import BYOLConfig
from tfcontrastive.runs import agreement
from tfcontrastive.runs import pretrain as train
from tfcontrastive.runs.builders import build_model, encoder_and_size, make_optimizer
from tfcontrastive.runs.schedule import Plan

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
LABELS = np.arange(40) % 4
SOURCE = data.ArraySource(
    {"train": (IMAGES, LABELS), "validation": (IMAGES[:12], LABELS[:12]), "test": (IMAGES, LABELS)}
)


def run_config(seed=7, **changes):
    """All but a few settings are not the defaults."""
    groups = {
        "method": "byol",
        "method_config": BYOLConfig(hidden_dim=6, proj_out_dim=4),
        "data": DataConfig(image_size=8),
        "augmentation": AugmentConfig(augmentation="moco_v2", color_jitter_strength=0.5),
        "encoder": EncoderConfig(resnet_depth=18, width_multiplier=0.0625, global_bn=False, batch_norm_decay=0.8,
                                 zero_init_residual=False),
        "optimizer": OptimizerConfig(
            optimizer="momentum", learning_rate=0.7, momentum=0.6, weight_decay=0.01, clip_norm=2.5, nesterov=False,
            decay_all_weights=True, warmup_epochs=1.0,
        ),
        "loop": LoopConfig(
            train_batch_size=8, train_epochs=2, micro_batch_size=4, gradient_accumulation_steps=2, seed=seed, knn_k=3,
            knn_temperature=0.5, knn_memory=20, knn_epochs=4, eval_batch_size=5, eval_steps=2,
        ),
    }  # fmt: skip
    return TrainConfig(**groups | changes)


@pytest.fixture(scope="module")
def model():
    return build_model(run_config(), SOURCE.spec, Plan.make(run_config(), 40))


def test_the_method_gets_its_settings(model):
    config = run_config()
    assert (model.seed, model.total_steps, model.num_classes) == (7, 11, 4)
    assert (model.micro_batch_size, model.gradient_accumulation_steps) == (4, 2)
    assert (model.config, model.augmentation) == (config.method_config, config.augmentation)
    assert model.head_options == {"global_bn": False, "batch_norm_decay": 0.8, "dtype": "float32"}
    expected = {"depth": 18, "width_multiplier": 0.0625, "global_bn": False, "batch_norm_decay": 0.8,
                "zero_init_residual": False}  # fmt: skip
    assert expected.items() <= model.encoder.get_config().items()


def test_the_optimizer_gets_its_settings(model):
    found = model.optimizer.get_config()
    expected = {"momentum": 0.6, "weight_decay": 0.01, "global_clipnorm": 2.5, "nesterov": False}
    assert expected.items() <= found.items()
    assert found["exclude_from_weight_decay"] == []
    np.testing.assert_allclose(model.optimizer.learning_rate, 0)  # a warm-up's first step
    model.optimizer.iterations.assign(5)
    np.testing.assert_allclose(model.optimizer.learning_rate, 0.7 * 8 / 256, rtol=1e-6)


def test_a_decay_that_moves_and_clipping_of_each_weight_reach_the_optimizer():
    config = OptimizerConfig(optimizer="adamw", weight_decay=0.04, weight_decay_end=0.4, clip_norm_per_weight=3.0)
    found = make_optimizer(config, run_config().loop, Plan.make(run_config(), 40)).get_config()
    expected = {"weight_decay": 0.04, "weight_decay_end": 0.4, "weight_decay_steps": 11, "clipnorm": 3.0}
    assert expected.items() <= found.items()


def test_batches_are_those_of_the_seed_the_step_and_the_policy():
    config, policy = run_config(), augment.policy("moco_v2")
    model = types.SimpleNamespace(policy=policy)
    options = {"batch_size": 8, "image_size": 8, "geometry": policy.geometries, "seed": 7, "start_step": 3}
    (expected,) = data.train_batches(SOURCE, "train", **options).take(1)
    (found,) = train.batches(config, model, SOURCE, 3).take(1)
    for one, two in zip(tf.nest.flatten(found), tf.nest.flatten(expected), strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(("size", "small", "stem"), [(64, 32, "large"), (32, 12, "small"), (64, None, "auto")])
def test_the_stem_is_that_of_the_large_views(size, small, stem):
    asked = AugmentConfig() if small is None else AugmentConfig(small_views=2, small_view_size=small)
    config = run_config(data=DataConfig(image_size=size), augmentation=asked)
    encoder, given = encoder_and_size(config, augment.policy_from_config(asked))
    assert (encoder.stem, given) == (stem, size if small is None else None)


def test_first_weights_are_a_function_of_the_seed():
    plan, strategy = Plan.make(run_config(), 40), tf.distribute.get_strategy()
    kernels = [
        np.array(train.first_model(run_config(seed), SOURCE, plan, strategy).encoder.get_layer("initial_conv").kernel)
        for seed in (7, 7, 8)
    ]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert np.abs(kernels[0] - kernels[2]).max() > 1e-3


def test_the_monitor_gets_its_settings_and_its_images():
    monitor = train.make_monitor(run_config(), SOURCE, Plan.make(run_config(), 40))
    assert (monitor.k, monitor.temperature, monitor.num_classes) == (3, 0.5, 4)
    assert (monitor.every_epochs, monitor.last_step) == (4, 11)
    images = [np.concatenate([batch["image"] for batch in part()]) for part in (monitor.memory, monitor.queries)]
    np.testing.assert_allclose(images[0], IMAGES[:20] / 255, atol=1e-6)  # knn_memory of the training images
    np.testing.assert_allclose(images[1], IMAGES[:10] / 255, atol=1e-6)  # eval_steps batches of the validation split


@pytest.mark.parametrize(("splits", "chosen"), [
    ("train test", "test"), ("train test validation", "validation"), ("train", None),
])  # fmt: skip
def test_the_held_out_split_is_validation_else_test(splits, chosen):
    source = data.ArraySource(dict.fromkeys(splits.split(), (IMAGES, LABELS)))
    assert train.eval_split(run_config(), source) == chosen
    assert train.eval_split(run_config(data=DataConfig(eval_split="train")), source) == "train"


def test_first_views_are_colored_each_by_its_own_seeds(model):
    batches = train.batches(run_config(), model, SOURCE, 0)
    (batch,) = itertools.islice(batches, 1)
    for i, view in enumerate(train.first_views(model, batches, count=5)):
        expected = model.policy.views[i](batch["views"][i], batch["seeds"][:, i])[:5]
        np.testing.assert_allclose(view, expected, atol=1e-6)


def test_workers_compare_what_decides_what_is_learned_and_when(monkeypatch):
    shared = agreement.shared_settings(run_config())
    expected = {
        "method": "byol", "hidden_dim": 6, "learning_rate": 0.7, "train_batch_size": 8, "checkpoint_steps": 0,
        "restore_step": None, "train_split": "train", "version of tfcontrastive": tfcontrastive.__version__,
    }  # fmt: skip
    assert expected.items() <= shared.items()
    assert not {"model_dir", "data_dir", "cluster_timeout", "knn_k", "strategy"} & set(shared)
    monkeypatch.setattr(tfcontrastive, "__version__", "9.9")
    assert {name for name, value in agreement.shared_settings(run_config(seed=8)).items() if shared[name] != value} == {
        "seed", "version of tfcontrastive"
    }  # fmt: skip


def test_images_have_the_channels_that_a_run_or_its_first_weights_began_with(tmp_path):
    Image.new("RGB", (8, 8), "teal").save(tmp_path / "a.png")
    source = data.load(f"folder:{tmp_path}")
    gray = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten()])
    assert train.images_of_run(source, types.SimpleNamespace(encoder=gray)).channels == 1
    assert train.images_of_run(source, None, {"images": {"channels": 1}}).channels == 1
    assert train.images_of_run(source, None).channels == 3
