"""The configs of pre-training: data, views, network, optimizer and loop."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, NamedTuple, Self

from tfcontrastive.config import values
from tfcontrastive.config.base import BaseConfig, InputError, setting


@dataclasses.dataclass(frozen=True)
class DataConfig(BaseConfig):
    """Where the images come from."""

    dataset: str = setting(
        "imagenet2012",
        "A tensorflow-datasets name, folder:PATH, tfrecord:GLOB, npz:FILE, embedded (ships inside), or file.py:function.",
    )
    data_dir: str | None = setting(None, "Directory where prepared tensorflow-datasets are stored.", may_change=True)
    train_split: str = setting("train", "Split for training; slices such as train[:90%] work for every source.")
    eval_split: str | None = setting(
        None, "Split for evaluation; default: validation, valid, val or dev, else test, where there is one."
    )
    image_size: int | None = setting(224, "Height and width of the views, in pixels.", at_least=1)
    cache_dataset: bool | None = setting(
        None, "Hold the decoded images in memory; default: when they are small.", may_change=True
    )
    background_color: str | None = setting(
        None, "What transparent images lie on: a name, #rrggbb or rgb(r,g,b); default: white."
    )
    intensity_range: str | None = setting(
        None, "LOW,HIGH: the values of 16-bit images that become black and white, such as 0,4095 for 12 bits."
    )
    max_bad_files: str = setting(
        "1%", "Unreadable files that are left out of a folder: a share or a number; more are refused.", may_change=True
    )
    labels: str | None = setting(
        None, "CSV file of file,label for the images of a folder; default: its sub-folders are the classes."
    )
    held_out: str | None = setting(
        None, "List of images that are kept out of train, as the split held_out; `tfcontrastive fit` writes one."
    )

    def __post_init__(self):
        super().__post_init__()
        if self.background_color is not None:
            values.parse_color(self.background_color)
        if self.intensity_range is not None:
            values.parse_range(self.intensity_range)
        values.parse_share(self.max_bad_files, 1)


POLICY_NAMES = (
    "simclr", "simclr_v1", "moco_v1", "moco_v2", "moco_v3", "byol", "relic", "barlow_twins", "supcon", "instdisc", "jigsaw",
    "infomin", "crop", "none", "multicrop_2x224_6x96", "dino_2x224_8x96", "embedded_2x28_4x14",
)  # fmt: skip
VIEW_SETTINGS = ("num_views", "small_views", "small_view_size", "small_view_area")
OPTIMIZERS = ("lars", "momentum", "adam", "adamw", "lamb", "muon")


@dataclasses.dataclass(frozen=True)
class AugmentConfig(BaseConfig):
    """How an image becomes a random view."""

    augmentation: str = setting("simclr", "Name of the augmentation policy.", choices=POLICY_NAMES)
    color_jitter_strength: float = setting(1.0, "Strength of the color jitter; 0 turns it off.", at_least=0)
    use_blur: bool = setting(True, "Blur as the policy says; false: never.")
    color_ops: str = setting(
        "fused",
        "fused: one color matrix per image (fast); exact: HSV hue and a clip after each op, in random order.",
        choices=("fused", "exact"),
    )
    crop_min_area: float | None = setting(
        None, "Smallest part of the image that a large view covers; default: the policy's.", above=0, at_most=1
    )
    keep_orientation: bool | None = setting(
        None, "Never mirror an image: for letters, signs, left and right; default: as the policy says."
    )
    keep_color: bool | None = setting(
        None, "Leave hue and saturation alone, where colour tells classes apart; default: as the policy says."
    )
    num_views: int | None = setting(
        None, "Large views of an image, of the size of the run's images; default: the policy's, 2.", at_least=2
    )
    small_views: int | None = setting(
        None, "Smaller views of an image, which no other view is to predict; default: the policy's.", at_least=0
    )
    small_view_size: int | None = setting(
        None, "Height and width of a small view, in pixels; default: the policy's, or 3/7 of the image's.", at_least=1
    )
    small_view_area: str | None = setting(
        None, "LOW,HIGH: the part of the image that a small view covers; default: the policy's, or 0.05,0.14."
    )

    def __post_init__(self):
        super().__post_init__()
        if self.small_view_area is not None:
            values.parse_area(self.small_view_area)

    @property
    def of_views(self) -> dict[str, int | str]:
        """What is asked for of the number, sizes and areas of views: `{name: value}`."""
        asked = {name: getattr(self, name) for name in VIEW_SETTINGS}
        return {name: value for name, value in asked.items() if value is not None}


@dataclasses.dataclass(frozen=True)
class EncoderConfig(BaseConfig):
    """The network that is learned."""

    encoder: str = setting(
        "resnet",
        "resnet; vit_small, vit_base, vit_large, vit_huge; vit, of any vit_options; efficientnet_lite0 to 4; "
        "convnext_tiny, convnext_small, convnext_base, convnext_large; keras.applications/NAME; "
        "keras_hub/PRESET, weights included; or one of your own: file.py:function.",
    )
    resnet_depth: int = setting(50, "Depth of the ResNet.", choices=(18, 34, 50, 101, 152, 200))
    width_multiplier: float = setting(
        1.0, "Multiplies the width of a convolutional network, and the heads of a ViT.", above=0
    )
    sk_ratio: float = setting(0.0, "Selective kernels where > 0 (the paper: 0.0625).", at_least=0, at_most=1)
    se_ratio: float = setting(0.0, "Squeeze-and-excitation where > 0.", at_least=0, at_most=1)
    patch_size: int = setting(16, "Height and width of a ViT's patches, in pixels.", at_least=1)
    vit_depth: int | None = setting(None, "Blocks of a ViT; default: those of its name.", at_least=1)
    stop_grad_conv1: bool = setting(True, "Keep a ViT's random patch embedding as it is, as MoCo v3 does.")
    vit_options: str | None = setting(
        None, "Settings of --encoder=vit as JSON, see tfcontrastive.ViT; published weights bring their own."
    )
    stem: str = setting(
        "auto",
        "auto: small up to 32 pixels, else large; padded: small, as solo-learn's on CIFAR; strided: small, in steps of two.",
        choices=("auto", "small", "padded", "strided", "large"),
    )
    pool_padding: str = setting(
        "same", "Of the first max pool; symmetric: as torchvision's networks.", choices=("same", "symmetric")
    )
    first_shortcut: str = setting(
        "projection",
        "Of the first group; identity: where shapes allow it, as torchvision's networks.",
        choices=("projection", "identity"),
    )
    zero_init_residual: bool | None = setting(
        None,
        "Start the ResNet's residual branches shut, their last gammas at zero; default: in runs of 5,000 steps or more, as "
        "shorter ones hardly open them.",
    )
    feature_grids: str | None = setting(
        None,
        "Features of a ResNet's four groups: cells along each side over which their maps are averaged, 0 for none, such as "
        "4,2,2,1; default: the mean of the last group alone.",
    )
    whiten_features: bool = setting(
        False,
        "At the end of pre-training a ResNet's last layer whitens its features by mean and covariance of the images: "
        "then no direction counts more than another in kNN and search.",
    )
    preprocessing: str = setting(
        "simclr",
        "Crop, resize and normalisation of the images, by the family that has them; part of the encoder and its exports.",
        choices=(
            "simclr",
            "imagenet",
            "caffe",
            "symmetric",
            "pixels",
            "imagenet_bicubic",
            "imagenet_whole",
            "satellite",
            "clip",
            "siglip",
            "vit",
            "efficientnet_lite",
        ),
    )
    norm: str = setting(
        "batch", "Normalisation of the ResNet: batch, or group, which looks at one image.", choices=("batch", "group")
    )
    batch_norm_decay: float = setting(0.9, "Decay of batch norm's moving statistics.", at_least=0, below=1)
    global_bn: bool = setting(True, "Batch norm over all replicas (synchronized), not over each one's own images.")

    def __post_init__(self):
        super().__post_init__()
        if self.feature_grids is not None:
            values.parse_grids(self.feature_grids)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(BaseConfig):
    """How weights follow gradients."""

    optimizer: str = setting("lars", "The optimizer.", choices=OPTIMIZERS)
    learning_rate: float = setting(0.3, "Learning rate for a batch of 256, before scaling.", above=0)
    learning_rate_scaling: str = setting(
        "linear",
        "linear: learning_rate * batch / 256; sqrt: learning_rate * sqrt(batch).",
        choices=("linear", "sqrt"),
    )
    warmup_epochs: float | None = setting(
        None,
        "Epochs of linear warm-up, before the cosine decay; default: 10 (finetune: 0, distill: 20), or a tenth of a run "
        "that is shorter than ten times that.",
        at_least=0,
    )
    weight_decay: float = setting(1e-6, "Weight decay.", at_least=0)
    weight_decay_end: float | None = setting(
        None, "Weight decay at the end of the run, along a cosine (adamw, lamb, muon); default: the same.", at_least=0
    )
    clip_norm: float = setting(
        0.0, "Largest norm of the whole gradient, over all weights and replicas; 0: not clipped.", at_least=0
    )
    clip_norm_per_weight: float = setting(
        0.0, "Largest norm of the gradient of each weight, on its own, as DINO clips; 0: not clipped.", at_least=0
    )
    momentum: float = setting(0.9, "Momentum of LARS and SGD.", at_least=0, below=1)
    nesterov: bool = setting(True, "Nesterov's form of SGD's momentum (MoCo and lightly: false).")
    decay_all_weights: bool = setting(
        False, "Weight decay on all weights, biases and normalisation too, as MoCo and lightly have it."
    )

    def __post_init__(self):
        super().__post_init__()
        if self.clip_norm and self.clip_norm_per_weight:
            raise InputError(
                "`clip_norm_per_weight` must be 0 with clip_norm, which clips all weights' gradients together. Received: "
                f"clip_norm_per_weight={self.clip_norm_per_weight}, clip_norm={self.clip_norm}."
            )


@dataclasses.dataclass(frozen=True)
class DeviceConfig(BaseConfig):
    """Which devices do the work."""

    strategy: str = setting(
        "auto",
        "auto: several GPUs -> mirrored, TF_CONFIG -> multi_worker, else none.",
        choices=("auto", "none", "mirrored", "multi_worker", "tpu"),
        may_change=True,
    )
    num_virtual_replicas: int = setting(
        0, "Split the CPU into this many devices, to try replicas out.", at_least=0, may_change=True
    )
    cluster_timeout: float = setting(
        300.0, "Seconds in which all workers of TF_CONFIG must be reached.", above=0, may_change=True
    )
    use_tpu: bool = setting(False, "The same as --strategy=tpu.", may_change=True)
    tpu_name: str | None = setting(
        None, "Name or grpc:// address of the Cloud TPU; local: that of this very machine.", may_change=True
    )
    tpu_zone: str | None = setting(None, "Zone of the Cloud TPU.", may_change=True)
    gcp_project: str | None = setting(None, "Project of the Cloud TPU.", may_change=True)


@dataclasses.dataclass(frozen=True)
class RunConfig(DeviceConfig):
    """How long to train, what to write, and on which devices."""

    model_dir: str | None = setting(None, "Directory for checkpoints, logs and the SavedModel.", may_change=True)
    train_batch_size: int | None = setting(
        None,
        "Batch size over all replicas; default: 512 (finetune: 1024, distill: 4096), or all images where there are fewer.",
        at_least=2,
    )
    train_epochs: int = setting(100, "Epochs to train.", at_least=1)
    train_steps: int = setting(0, "Steps to train; overrides train_epochs where > 0.", at_least=0)
    checkpoint_epochs: int = setting(1, "Epochs between checkpoints.", at_least=1, may_change=True)
    checkpoint_steps: int = setting(
        0, "Steps between checkpoints; overrides checkpoint_epochs where > 0.", at_least=0, may_change=True
    )
    keep_checkpoint_max: int = setting(5, "Checkpoints to keep.", at_least=1, may_change=True)
    restore_step: int | None = setting(
        None,
        "Go on from the checkpoint of this step, not the newest; newer ones are moved aside.",
        at_least=1,
        may_change=True,
    )
    train_summary_steps: int = setting(
        100, "Steps between TensorBoard summaries of training; 0: none.", at_least=0, may_change=True
    )
    log_to: str | None = setting(
        None,
        "Also send params, metrics and the page to a logger: mlflow:URI (a server or a folder), wandb or wandb:PROJECT.",
        may_change=True,
    )
    eval_batch_size: int = setting(256, "Batch size for evaluation.", at_least=1, may_change=True)
    eval_steps: int = setting(0, "Evaluate on this many batches; 0: on the whole split.", at_least=0, may_change=True)
    seed: int = setting(
        0, "Seed of the weights, the order of the images and the augmentation.", at_least=0, at_most=2**32 - 1
    )
    deterministic: bool = setting(False, "Bit-equal runs: only deterministic kernels.", may_change=True)
    mixed_precision: str = setting(
        "auto",
        "Precision of activations; weights stay float32. auto: bfloat16 where this device multiplies it natively, which is "
        "measured when the run begins (a GPU tells), else float32.",
        choices=("auto", "float32", "bfloat16", "float16"),
    )
    jit_compile: str = setting(
        "auto",
        "XLA: auto is on for TPUs and for one GPU, and off on the CPU, where its convolutions are slower, and for several "
        "GPUs, whose common step Keras cannot compile.",
        choices=("auto", "on", "off"),
    )
    steps_per_execution: int = setting(
        1,
        "Steps per call of the compiled function; epochs are rounded to a multiple of it.",
        at_least=1,
        may_change=True,
    )

    def __post_init__(self):
        super().__post_init__()
        if self.log_to is not None:
            values.parse_log_to(self.log_to)


@dataclasses.dataclass(frozen=True)
class LoopConfig(RunConfig):
    """A pre-training run: what it starts from, and what is measured beside it, too."""

    train_minutes: float = setting(
        0.0,
        "Minutes to train, compiling included; overrides train_epochs where > 0. They become steps when the run begins, by "
        "its pace on this machine, and the steps are recorded: a run that goes on keeps them.",
        at_least=0,
    )
    checkpoint: str | None = setting(
        None,
        "Weights to start from: a run, or a published file. The encoder is theirs, the head too where it fits.",
        may_change=True,
    )
    micro_batch_size: int = setting(
        0,
        "Images that a replica's encoder holds at a time, for batches larger than memory; 0: its whole share. The gradient "
        "stays that of the whole batch, but batch norm takes the statistics of a micro batch: see --norm=group.",
        at_least=0,
    )
    gradient_accumulation_steps: int = setting(
        1, "Parts in which a replica computes its batch, for methods that do not compare its images.", at_least=1
    )
    lineareval_while_pretraining: bool = setting(True, "Train a linear probe beside, on stopped gradients.")
    knn_epochs: int = setting(5, "Epochs between kNN evaluations; 0: never.", at_least=0, may_change=True)
    knn_k: int = setting(200, "Neighbours of the kNN evaluation.", at_least=1, may_change=True)
    knn_temperature: float = setting(
        0.1, "Temperature of the kNN votes, exp(similarity / T).", above=0, may_change=True
    )
    knn_memory: int = setting(20_000, "Training images the kNN may look at.", at_least=1, may_change=True)


class Defaults(NamedTuple):
    """What a kind of run, or a recipe, takes where nothing is asked for, as far as the size of the data allows it.

    The warm-up of a kind is at most a tenth of the run; that of a recipe is as published, but for runs that it would fill.
    """

    train_batch_size: int
    warmup_epochs: float
    at_most_a_tenth: bool = True


class RunSettings(BaseConfig):
    """Base of `TrainConfig`, `FinetuneConfig` and `DistillConfig`, which give these their options and defaults.

    Attributes:
        kind: of run: pretrain, finetune or distill.
        data, augmentation, encoder, optimizer: as their classes say; no encoder: that of what the run starts from.
        loop: how long, where to, on which devices; of a pre-training a `LoopConfig`.
        defaults: what is taken where nothing is asked for.
    """

    kind: ClassVar[str]
    data: DataConfig
    augmentation: AugmentConfig
    encoder: EncoderConfig | None
    optimizer: OptimizerConfig
    loop: RunConfig
    defaults: Defaults

    def changed(self, **parts: Any) -> Self:
        """The same settings with other parts."""
        return dataclasses.replace(self, **parts)


@dataclasses.dataclass(frozen=True)
class TrainConfig(RunSettings):
    """One pre-training run: the method with its own config, and the five groups around it."""

    kind: ClassVar[str] = "pretrain"

    method: str = setting("simclr", "The method to train with; one of your own: file.py:Class or package.module:Class.")
    method_config: BaseConfig = setting(None, "The method's own config.")
    data: DataConfig = setting(DataConfig(), "Where the images come from.")
    augmentation: AugmentConfig = setting(AugmentConfig(), "How an image becomes a view.")
    encoder: EncoderConfig = setting(EncoderConfig(), "The network.")
    optimizer: OptimizerConfig = setting(OptimizerConfig(), "How weights follow gradients.")
    loop: LoopConfig = setting(LoopConfig(), "How long, where to and on which devices.")
    defaults: Defaults = setting(Defaults(512, 10.0), "What is taken where nothing is asked for.", stored=False)
