"""The settings of every protocol of `tfcontrastive evaluate`. They need no TensorFlow, so that the command line answers at
once; the evaluators add to them what is measured.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

from tfcontrastive.config import OPTIMIZERS, POLICY_NAMES, Checked, option

CLASSIFIERS = ("linear", "knn", "head")
TRANSFER_SETS = (
    "food101", "cifar10", "cifar100", "birdsnap", "sun397", "cars", "aircraft", "voc2007", "dtd", "pets", "caltech101",
    "flowers",
)  # fmt: skip
FINETUNE: dict[str, Any] = {
    "train_steps": 20_000,
    "train_batch_size": 256,
    "optimizer": "momentum",
    "learning_rates": tuple(10 ** (-4 + step / 2) for step in range(7)),  # 1e-4 to 1e-1
    "weight_decays": (0.0, *(10 ** (-6 + step / 2) for step in range(7))),  # none, 1e-6 to 1e-3, each over the rate
}
"""Source: arXiv 2002.05709, appendix B.8.2: SGD with Nesterov momentum 0.9, crop and flip; rate and decay by validation."""


@dataclasses.dataclass(frozen=True)
class FeatureSettings(Checked):
    """Of the evaluators that look at the features of a frozen encoder."""

    train_split: str = option("train", "Split whose features and labels the probe learns from.")
    eval_split: str | None = option(None, "Split that is tested on; default: test, else validation, if labelled.")
    data_dir: str | None = option(None, "Directory where prepared tensorflow-datasets are stored.", may_change=True)
    eval_batch_size: int = option(256, "Images that the encoder takes at a time.", at_least=1, may_change=True)
    image_size: int | None = option(None, "Height and width; else the encoder's or the data's own.", at_least=1)


@dataclasses.dataclass(frozen=True)
class KNNSettings(FeatureSettings):
    """Weighted k-nearest-neighbour classification of frozen features by cosine similarity."""

    k: int = option(200, "Neighbours that vote; at most the training images of the smallest class.", at_least=1)
    temperature: float = option(0.1, "Temperature of the votes' weights exp(similarity / T).", above=0)


@dataclasses.dataclass(frozen=True)
class LinearSettings(FeatureSettings):
    """A linear classifier of frozen features: L-BFGS, or SGD as in SimCLR or MoCo."""

    linear_optimizer: str = option(
        "lbfgs",
        "lbfgs: to convergence, penalty swept on a part of train; simclr, moco: SGD with the published constants.",
        choices=("lbfgs", "simclr", "moco"),
    )
    linear_augmentation: bool = option(
        True,
        "SGD: random crops and flips, the frozen encoder running at each step; false: on features taken once, quicker.",
    )
    linear_epochs: int | None = option(None, "SGD: epochs; default: the published.", at_least=1)
    linear_batch_size: int | None = option(None, "SGD: batch size; default: the published.", at_least=1)
    linear_learning_rate: float | None = option(
        None, "SGD: learning rate for a batch of 256, scaled linearly; default: the published.", above=0
    )
    max_iter: int = option(1000, "L-BFGS: iterations of the final fit at most.", at_least=1)
    validation_fraction: float = option(0.2, "L-BFGS: part of train on which the penalty is chosen.", above=0, below=1)
    seed: int = option(0, "Seed of the validation split; SGD: of weights, order and crops.", at_least=0)


@dataclasses.dataclass(frozen=True)
class RobustnessSettings(FeatureSettings):
    """Error on ImageNet-C's 15 corruptions x 5 severities, and mCE against a baseline."""

    classifier: str = option("linear", "What is tested: a probe, or the encoder's own head.", choices=CLASSIFIERS)
    corrupted_dataset: str | None = option(
        None, "Corrupted images ready-made: cifar10_corrupted, imagenet2012_corrupted; default: corrupted on the fly."
    )
    baseline: str | None = option(
        None, "What mCE compares with: alexnet (ImageNet's default), or the metrics.json of another encoder."
    )
    eval_images: int | None = option(None, "Test on the first so many images; default: on all.", at_least=1)
    corruption_workers: int = option(1, "Processes that corrupt images.", at_least=1, may_change=True)
    seed: int = option(0, "Seed of the corruptions' noise and the probe's validation split.", at_least=0)


@dataclasses.dataclass(frozen=True)
class OutOfDistributionSettings(FeatureSettings):
    """Accuracy on another domain of the same classes, such as ImageNet-R, beside that at home."""

    ood_dataset: str | None = option(None, "Images of the other domain, as --dataset takes them.")
    ood_split: str | None = option(None, "Their split; default: test, else validation, else the only one.")
    class_map: str | None = option(
        None, "JSON or CSV file: their class -> the data's class, by name or number; default: those of the same name."
    )
    classifier: str = option("linear", "What is tested: a probe, or the encoder's own head.", choices=CLASSIFIERS)
    seed: int = option(0, "Seed of the probe's validation split.", at_least=0)


@dataclasses.dataclass(frozen=True)
class InvariancesSettings(FeatureSettings):
    """SimCLR's Table 3: does an MLP on h, and on g(h), tell color from gray, rotations, noise and Sobel edges?"""

    train_images: int = option(5000, "Training images to learn from.", at_least=10)
    eval_images: int = option(2000, "Held-out images to test on.", at_least=1)
    noise: float = option(0.1, "Standard deviation of the Gaussian noise, for images in [0, 1].", above=0)
    hidden_units: int = option(256, "Width of the MLP.", at_least=1)
    max_epochs: int = option(100, "Epochs of the MLP at most.", at_least=1)
    seed: int = option(0, "Seed of the noise and the MLP.", at_least=0)


@dataclasses.dataclass(frozen=True)
class ContentStyleSettings(Checked):
    """ReLIC's premise on generated images: linear probes of content and of style, divergence of p(Y|f(x)) across styles."""

    needs_dataset: ClassVar[bool] = False  # it makes its own images

    image_size: int | None = option(None, "Height and width; default: the encoder's own, else 64.", at_least=8)
    train_images: int = option(3000, "Generated images that the probes learn from.", at_least=100)
    eval_images: int = option(1500, "Generated images that the probes are tested on.", at_least=1)
    contents: int = option(150, "Contents whose styles are compared.", at_least=2)
    styles: int = option(8, "Styles that each content is shown in.", at_least=2)
    eval_batch_size: int = option(256, "Images that the encoder takes at a time.", at_least=1, may_change=True)
    seed: int = option(0, "Seed of the images and the probes' validation split.", at_least=0)


@dataclasses.dataclass(frozen=True)
class GeometrySettings(FeatureSettings):
    """How features and projections lie on the sphere: alignment, uniformity, rank, InfoNCE bound, class separation."""

    eval_batch_size: int = option(
        256, "Images that the encoder takes at a time, and B of the InfoNCE bound.", at_least=1
    )
    augmentation: str = option("simclr", "Policy that the two views are made by.", choices=POLICY_NAMES)
    temperature: float = option(0.1, "Temperature of the loss in the InfoNCE bound.", above=0)
    seed: int = option(0, "Seed of the views.", at_least=0)


@dataclasses.dataclass(frozen=True)
class TuningSettings(Checked):
    """How the encoder is fine-tuned, of the protocols that do so."""

    train_split: str = option("train", "Split that the network learns from.")
    eval_split: str | None = option(None, "Split that is tested on; default: test, else validation, if labelled.")
    data_dir: str | None = option(None, "Directory where prepared tensorflow-datasets are stored.", may_change=True)
    work_dir: str | None = option(None, "Directory of the runs; default: OUTPUT_DIR.runs.", may_change=True)
    eval_batch_size: int = option(256, "Images in a batch of evaluation.", at_least=1, may_change=True)
    image_size: int | None = option(None, "Height and width; else the encoder's or the data's own.", at_least=1)
    ft_proj_selector: int | None = option(
        None, "Layer of the projection head to start from; default: as pre-trained for.", at_least=-1
    )
    optimizer: str = option("lars", "The optimizer.", choices=OPTIMIZERS)
    learning_rate: float = option(0.005, "Learning rate, before scaling.", above=0)
    learning_rate_scaling: str = option(
        "sqrt", "linear: learning_rate * batch / 256; sqrt: learning_rate * sqrt(batch).", choices=("linear", "sqrt")
    )
    weight_decay: float = option(0.0, "Weight decay.", at_least=0)
    train_batch_size: int = option(1024, "Batch size; smaller where there are fewer images.", at_least=2)
    crop_min_area: float | None = option(None, "Smallest part of the image that a crop covers.", above=0, at_most=1)
    mixed_precision: str = option(
        "auto",
        "Precision of activations; auto: bfloat16 where this device multiplies it natively, else float32.",
        choices=("auto", "float32", "bfloat16", "float16"),
        may_change=True,
    )
    seed: int = option(0, "Seed of the choice of labels, the first logits, the order and the crops.", at_least=0)


@dataclasses.dataclass(frozen=True)
class SemiSettings(TuningSettings):
    """Accuracy after fine-tuning on a part of the labels, 1% and 10% by default."""

    fractions: str = option("0.01,0.1", "Parts of the labels, with commas between them.")
    train_epochs: int | None = option(
        None, "Epochs of each; default: 60 for up to 1% of the labels, else 30.", at_least=1
    )


@dataclasses.dataclass(frozen=True)
class CurveSettings(TuningSettings):
    """Accuracy against the part of the labels: the encoder fine-tuned, and the same network trained from scratch."""

    fractions: str = option("0.01,0.02,0.05,0.1,0.2,0.5,1", "Parts of the labels, with commas between them.")
    train_epochs: int | None = option(
        None, "Epochs of fine-tuning; default: 60 for up to 1% of the labels, else 30.", at_least=1
    )
    supervised_epochs: int = option(90, "Epochs of training from scratch.", at_least=1)
    supervised_optimizer: str = option("momentum", "Optimizer from scratch.", choices=OPTIMIZERS)
    supervised_learning_rate: float = option(0.1, "Learning rate from scratch, times batch / 256.", above=0)
    supervised_weight_decay: float = option(5e-4, "Weight decay from scratch.", at_least=0)


@dataclasses.dataclass(frozen=True)
class TransferSettings(TuningSettings):
    """SimCLR's transfer: linear probes and fine-tuning on the data sets of its Table 8, each with its own metric."""

    datasets: str = option("all", "Names with commas between them, of: " + ", ".join(TRANSFER_SETS) + "; or all.")
    how: str = option("linear", "What is trained.", choices=("linear", "finetune", "both"))
    optimizer: str = option(FINETUNE["optimizer"], "The optimizer.", choices=OPTIMIZERS)
    learning_rate_scaling: str = option("linear", "As in train.", choices=("linear", "sqrt"))
    train_batch_size: int = option(FINETUNE["train_batch_size"], "Batch size, at most the images.", at_least=2)
    train_steps: int = option(FINETUNE["train_steps"], "Steps of a fine-tuning.", at_least=1)
    learning_rates: str = option(",".join(f"{rate:g}" for rate in FINETUNE["learning_rates"]), "Rates to choose from.")
    weight_decays: str = option(
        ",".join(f"{decay:g}" for decay in FINETUNE["weight_decays"]),
        "Decays to choose from, each divided by the rate.",
    )
    needs_dataset: ClassVar[bool] = False  # it brings its own
