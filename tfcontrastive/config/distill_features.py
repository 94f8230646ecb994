"""The config of a distillation from features. It needs no TensorFlow, so that the command line answers at once."""

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

FEATURE_LOSSES = ("similarity", "regression")
"""How a student may learn from features."""

_MILD = AugmentConfig(augmentation="crop", crop_min_area=0.3)
_ADAMW = OptimizerConfig(optimizer="adamw", learning_rate=0.004, weight_decay=1e-4)


@dataclasses.dataclass(frozen=True)
class FeatureDistillConfig(RunSettings):
    """One distillation from features: an encoder of any kind teaches a student without labels.

    Where `data.image_size` is None, the student's images have the size that the teacher was made for, else the data's own.
    """

    kind: ClassVar[str] = "distill_features"

    teacher: str | None = setting(
        None, "The encoder that teaches: the directory of a run, an export, or published weights."
    )
    teacher_image_size: int | None = setting(
        None,
        "Height and width of the teacher's images; default: what it was made for, 224 where it takes any.",
        at_least=1,
    )
    feature_loss: str = setting(
        "similarity",
        "similarity: whom of a queue of images the teacher finds alike; regression: the cosine to the teacher's features, "
        "through a linear head.",
        choices=FEATURE_LOSSES,
    )
    temperature: float = setting(0.2, "Of feature_loss=similarity: the student's.", above=0)
    teacher_temperature: float = setting(0.01, "Of feature_loss=similarity: the teacher's.", above=0)
    queue_size: int | None = setting(
        None,
        "Of feature_loss=similarity: the teacher's features that are compared with; default: 4,096, or as many as there are "
        "images, in whole batches.",
        at_least=1,
    )
    feature_views: int = setting(
        4, "Crops and flips of each image, of which the teacher's features are kept.", at_least=1
    )
    feature_cache: str | None = setting(
        None, "Where these are kept, for several students; default: features/ in output_dir.", may_change=True
    )
    eval_epochs: int = setting(
        0, "Epochs between evaluations; 0: only at the end. The end is what is reported.", at_least=0, may_change=True
    )
    knn_k: int = setting(200, "Neighbours of the kNN evaluation.", at_least=1, may_change=True)
    knn_temperature: float = setting(
        0.1, "Temperature of the kNN votes, exp(similarity / T).", above=0, may_change=True
    )
    data: DataConfig = setting(DataConfig(image_size=None), "Where the images come from.")
    augmentation: AugmentConfig = setting(
        _MILD, "How an image becomes a view; the teacher sees its crop and flip alone."
    )
    encoder: EncoderConfig | None = setting(None, "The student.")
    optimizer: OptimizerConfig = setting(_ADAMW, "How weights follow gradients.")
    loop: RunConfig = setting(RunConfig(train_epochs=50), "How long, where to, which devices.")
    defaults: Defaults = setting(Defaults(256, 5.0), "What is taken where nothing is asked for.", stored=False)

    def __post_init__(self):
        super().__post_init__()
        for name, value in self.augmentation.of_views.items():
            raise InputError(
                f"`{name}` must be left out here, where the student sees one view of an image at a time; feature_views says "
                f"how many there are. Received: {name}={value}."
            )
