"""What the settings of several protocols have in common."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config.base import BaseConfig, setting
from tfcontrastive.config.pretrain import OPTIMIZERS

CLASSIFIERS = ("linear", "knn", "head")


@dataclasses.dataclass(frozen=True)
class FeatureSettings(BaseConfig):
    """Of the evaluators that look at the features of a frozen encoder."""

    train_split: str = setting("train", "Split whose features and labels the probe learns from.")
    eval_split: str | None = setting(None, "Split that is tested on; default: test, else validation, if labelled.")
    data_dir: str | None = setting(None, "Directory where prepared tensorflow-datasets are stored.", may_change=True)
    eval_batch_size: int = setting(256, "Images that the encoder takes at a time.", at_least=1, may_change=True)
    image_size: int | None = setting(None, "Height and width; else the encoder's or the data's own.", at_least=1)


@dataclasses.dataclass(frozen=True)
class BagSettings(FeatureSettings):
    """Of those that can look at the mean feature of many crops of an image."""

    bag_crops: int = setting(
        1,
        "Random crops of an image whose features are averaged, as for EMP-SSL; above 1 the values are named so: "
        "knn_bag16_top1.",
        at_least=1,
    )
    bag_area: float = setting(0.25, "Part of the image that each crop of a bag covers.", above=0, at_most=1)


@dataclasses.dataclass(frozen=True)
class TuningSettings(BaseConfig):
    """How the encoder is fine-tuned, of the protocols that do so."""

    train_split: str = setting("train", "Split that the network learns from.")
    eval_split: str | None = setting(None, "Split that is tested on; default: test, else validation, if labelled.")
    data_dir: str | None = setting(None, "Directory where prepared tensorflow-datasets are stored.", may_change=True)
    work_dir: str | None = setting(None, "Directory of the runs; default: OUTPUT_DIR.runs.", may_change=True)
    eval_batch_size: int = setting(256, "Images in a batch of evaluation.", at_least=1, may_change=True)
    image_size: int | None = setting(None, "Height and width; else the encoder's or the data's own.", at_least=1)
    ft_proj_selector: int | None = setting(
        None, "Layer of the projection head to start from; default: as pre-trained for.", at_least=-1
    )
    optimizer: str = setting("lars", "The optimizer.", choices=OPTIMIZERS)
    learning_rate: float = setting(0.005, "Learning rate, before scaling.", above=0)
    learning_rate_scaling: str = setting(
        "sqrt", "linear: learning_rate * batch / 256; sqrt: learning_rate * sqrt(batch).", choices=("linear", "sqrt")
    )
    weight_decay: float = setting(0.0, "Weight decay.", at_least=0)
    train_batch_size: int = setting(1024, "Batch size; smaller where there are fewer images.", at_least=2)
    crop_min_area: float | None = setting(None, "Smallest part of the image that a crop covers.", above=0, at_most=1)
    mixed_precision: str = setting(
        "auto",
        "Precision of activations; auto: bfloat16 where this device multiplies it natively, else float32.",
        choices=("auto", "float32", "bfloat16", "float16"),
        may_change=True,
    )
    seed: int = setting(0, "Seed of the choice of labels, the first logits, the order and the crops.", at_least=0)
