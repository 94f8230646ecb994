"""The configs of fine-tuning and distillation. They need no TensorFlow, so that the command line answers at once."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from tfcontrastive.config import (
    AugmentConfig,
    DataConfig,
    Defaults,
    EncoderConfig,
    InputError,
    OptimizerConfig,
    RunConfig,
    RunSettings,
    setting,
)

BLOCKS = (-1, 0, 1, 2, 3, 4)
"""What `fine_tune_after_block` may be."""

_DATA = DataConfig(image_size=None)
_CROPS = AugmentConfig(augmentation="crop")
_PUBLISHED = OptimizerConfig(learning_rate=0.005, learning_rate_scaling="sqrt", weight_decay=0.0)
"""Of SimCLRv2: LARS, 0.16 at a batch of 1,024, no warm-up, no decay; 60 epochs with 1% of the labels, 30 with more."""


@dataclasses.dataclass(frozen=True)
class FinetuneConfig(RunSettings):
    """One fine-tuning. The defaults are SimCLRv2's for 1% of ImageNet's labels (arXiv 2006.10029, section 4.1).

    Where `data.image_size` is None, images have the size that the encoder was trained on, else the data's own.
    """

    kind: ClassVar[str] = "finetune"

    train_mode: str = setting("finetune", "The kind of run.", choices=("finetune",))
    checkpoint: str | None = setting(None, "model_dir of the run whose encoder is fine-tuned; without: from scratch.")
    saved_model: str | None = setting(None, "An export whose encoder is fine-tuned, instead of a checkpoint.")
    fine_tune_after_block: int = setting(
        -1,
        "Train what follows this group of blocks: -1 all, 0 after the stem, 4 the linear head alone.",
        choices=BLOCKS,
    )
    ft_proj_selector: int | None = setting(
        None,
        "Start from this layer of the projection head: 0 none of it, -1 its end; default: as pre-trained for.",
        at_least=-1,
    )
    zero_init_logits_layer: bool = setting(False, "Start the linear head at zero.")
    label_smoothing: float = setting(0.0, "Share of each label that is spread over all classes.", at_least=0, below=1)
    label_fraction: float | None = setting(
        None, "Use the labels of this part of the images, equally many of each class.", above=0, at_most=1
    )
    ema_decay: float = setting(
        0.0, "Where > 0, weights are averaged with this decay, for the result.", at_least=0, below=1
    )
    eval_epochs: int = setting(
        0, "Epochs between evaluations; 0: only at the end. The end is what is reported.", at_least=0, may_change=True
    )
    data: DataConfig = setting(_DATA, "Where the images come from.")
    augmentation: AugmentConfig = setting(_CROPS, "How an image becomes a view.")
    encoder: EncoderConfig | None = setting(EncoderConfig(), "The network; None: the checkpoint's or export's own.")
    optimizer: OptimizerConfig = setting(_PUBLISHED, "How weights follow gradients.")
    loop: RunConfig = setting(RunConfig(train_epochs=60), "How long, where to, which devices.")
    defaults: Defaults = setting(Defaults(1024, 0.0), "What is taken where nothing is asked for.", stored=False)

    def __post_init__(self):
        super().__post_init__()
        for name, value in self.augmentation.of_views.items():
            raise InputError(
                f"`{name}` must be left out here, where the network sees one view of an image. Received: {name}={value}."
            )


_DISTILLED = OptimizerConfig(learning_rate=0.1, learning_rate_scaling="sqrt", weight_decay=1e-4)
"""Of SimCLRv2's pre-training, which its distillation shares; 400 epochs with a batch of 4,096."""


@dataclasses.dataclass(frozen=True)
class DistillConfig(FinetuneConfig):
    """One distillation. The defaults are SimCLRv2's for ImageNet (arXiv 2006.10029, section 4.1)."""

    kind: ClassVar[str] = "distill"

    train_mode: str = setting("distill", "The kind of run.", choices=("distill",))
    checkpoint: str | None = setting(None, "model_dir of the run that the student starts from; without: from scratch.")
    saved_model: str | None = setting(None, "An export that the student starts from, instead of a checkpoint.")
    label_fraction: float | None = setting(
        None, "With alpha < 1, the labels of this part of the images alone are known.", above=0, at_most=1
    )
    teacher: str | None = setting(None, "model_dir of a fine-tuned run, or a SavedModel with logits.")
    temperature: float = setting(
        1.0, "Softens the teacher's and the student's answers (the paper: 1; 0.1 for self-distillation).", above=0
    )
    alpha: float = setting(
        1.0, "(1 - alpha) * cross entropy with labels + alpha * distillation.", at_least=0, at_most=1
    )
    teacher_logits: str = setting(
        "live",
        "live: of the very view that the student sees; cached: once, of the whole image (images held in memory).",
        choices=("live", "cached"),
    )
    encoder: EncoderConfig | None = setting(
        None, "The student; None: the checkpoint's or export's own, else the teacher's architecture, from scratch."
    )
    optimizer: OptimizerConfig = setting(_DISTILLED, "How weights follow gradients.")
    loop: RunConfig = setting(RunConfig(train_epochs=400), "How long, where to, which devices.")
    defaults: Defaults = setting(Defaults(4096, 20.0), "What is taken where nothing is asked for.", stored=False)
