"""The three steps of SimCLRv2 on real images, small: pre-train, fine-tune on a tenth of the labels, distil."""

import dataclasses

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
from tfcontrastive.methods import SimCLRConfig
from tfcontrastive.runs.pretrain import train

IMAGES = DataConfig(dataset="embedded", image_size=14)
LABELLED = dataclasses.replace(IMAGES, train_split="train[:10%]")  # 1,000, of which a tenth has labels
CROPS = AugmentConfig(augmentation="crop", crop_min_area=0.5)
OPTIMIZER = OptimizerConfig(optimizer="adamw", learning_rate=0.01, warmup_epochs=0.0, weight_decay=1e-4)


def test_a_student_half_as_wide_learns_more_from_its_teacher_than_from_the_labels(tmp_path):
    source = data.load("embedded")

    def network(width):
        return EncoderConfig(resnet_depth=18, width_multiplier=width)

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
    assert taught.metrics["eval_top1"] > alone.metrics["eval_top1"] + 0.01  # measured: 0.61 and 0.50
