"""The three steps of SimCLRv2 on real images, small: pre-train, fine-tune on a tenth of the labels, distil."""

import dataclasses

import keras
import pytest

from tfcontrastive import data
from tfcontrastive.config import (
    AugmentConfig,
    DataConfig,
    EncoderConfig,
    LoopConfig,
    OptimizerConfig,
    RunConfig,
    TrainConfig,
)
from tfcontrastive.downstream.distill import DistillConfig, distill
from tfcontrastive.downstream.finetune import FinetuneConfig, finetune
from tfcontrastive.encoders import BatchNorm
from tfcontrastive.encoders.registry import NETWORKS, Network
from tfcontrastive.methods import SimCLRConfig
from tfcontrastive.runs.pretrain import train

IMAGES = DataConfig(dataset="embedded", image_size=14)
LABELLED = dataclasses.replace(IMAGES, train_split="train[:10%]")  # 1,000, of which a tenth has labels
CROPS = AugmentConfig(augmentation="crop", crop_min_area=0.5)
OPTIMIZER = OptimizerConfig(optimizer="adamw", learning_rate=0.01, warmup_epochs=0.0, weight_decay=1e-4)


def four_convolutions(input_shape, width_multiplier=1.0):
    """A network that is traced in a fifth of the time of a ResNet-18, and learns as much in so few steps."""
    x = images = keras.Input(input_shape)
    for number, (filters, strides) in enumerate(((128, 1), (256, 2), (512, 2), (512, 1))):
        width = int(filters * width_multiplier)
        x = keras.layers.Conv2D(width, 3, strides, padding="same", use_bias=False, name=f"conv_{number}")(x)
        x = keras.layers.Activation("relu")(BatchNorm(name=f"norm_{number}")(x))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32")(x))


@pytest.fixture(autouse=True)
def small_network(monkeypatch):
    monkeypatch.setitem(NETWORKS, "four_convolutions", Network(four_convolutions, ("width_multiplier",)))


def test_a_student_half_as_wide_learns_more_from_its_teacher_than_from_the_labels(tmp_path):
    source = data.load("embedded")

    def network(width):
        return EncoderConfig(encoder="four_convolutions", width_multiplier=width)

    def loop(name, steps, batch, kind=RunConfig, **options):
        return kind(
            model_dir=str(tmp_path / name), train_batch_size=batch, train_steps=steps,
            checkpoint_steps=1000, eval_batch_size=500, **options,
        )  # fmt: skip

    unmeasured = {"lineareval_while_pretraining": False, "knn_epochs": 0, "knn_memory": 500, "eval_steps": 1}
    train(
        TrainConfig(
            method_config=SimCLRConfig(temperature=0.2, num_proj_layers=2),
            data=IMAGES,
            augmentation=AugmentConfig(crop_min_area=0.5),
            encoder=network(0.125),
            optimizer=OPTIMIZER,
            loop=loop("pretrained", 40, 256, LoopConfig, **unmeasured),
        )
    )
    few = {"label_fraction": 0.1, "data": LABELLED, "augmentation": CROPS, "optimizer": OPTIMIZER}
    start = {"checkpoint": str(tmp_path / "pretrained"), "encoder": None}
    teacher = finetune(FinetuneConfig(**few, **start, loop=loop("teacher", 80, 64)), source=source)
    alone = finetune(FinetuneConfig(**few, encoder=network(0.0625), loop=loop("alone", 80, 64)), source=source)
    taught = distill(
        DistillConfig(
            teacher=str(tmp_path / "teacher"),
            encoder=network(0.0625),
            data=IMAGES,
            augmentation=CROPS,
            optimizer=OPTIMIZER,
            loop=loop("taught", 80, 128),
        ),
        source=source,
    )
    assert taught.metrics["teacher_top1"] == teacher.metrics["eval_top1"]
    assert taught.metrics["eval_top1"] > alone.metrics["eval_top1"] + 0.01  # measured: 0.45 and 0.36
