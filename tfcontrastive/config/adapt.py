"""The config of an adaptation. It needs no TensorFlow, so that the command line answers at once."""

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

OBJECTIVES = ("simclr", "moco", "instance")
"""What may be learned from images without labels."""


OF_THE_OPTIMIZER = ("learning_rate", "learning_rate_scaling", "warmup_epochs", "clip_norm")
"""What may be asked for of the optimizer."""

_ADAM = OptimizerConfig(optimizer="adam", learning_rate=0.004, weight_decay=0.0)


@dataclasses.dataclass(frozen=True)
class AdaptLoop(RunConfig):
    """A run that is measured by kNN."""

    knn_k: int = setting(200, "Neighbours of the kNN evaluation.", at_least=1, may_change=True)
    knn_temperature: float = setting(
        0.1, "Temperature of the kNN votes, exp(similarity / T).", above=0, may_change=True
    )


@dataclasses.dataclass(frozen=True)
class AdaptConfig(RunSettings):
    """One adaptation: a trained encoder goes on with images of one's own, and is kept where that helped.

    Where `data.image_size` is None, images have the size that the encoder was trained on.
    """

    kind: ClassVar[str] = "adapt"

    checkpoint: str | None = setting(None, "The encoder: the directory of a run, or published weights.")
    saved_model: str | None = setting(None, "An export whose encoder is adapted, instead of a checkpoint.")
    objective: str = setting(
        "simclr",
        "simclr, moco: views of an image against other images; instance: each image is a class of its own.",
        choices=OBJECTIVES,
    )
    label_smoothing: float = setting(
        0.5, "Of objective=instance: the part of each label that is spread over all images.", at_least=0, below=1
    )
    temperature: float = setting(0.2, "Of objective=simclr and moco.", above=0)
    anchor: float = setting(
        1.0, "Weight of 1 - the cosine to the features of the encoder as it was, of the same view.", at_least=0
    )
    first_layer_rate: float = setting(
        0.1, "Learning rate of the first layer, as a part of the last one's.", above=0, at_most=1
    )
    head_only: float = setting(0.1, "Part of the steps in which only the new head learns.", at_least=0, below=1)
    unfreeze: float = setting(
        0.5, "Part of the steps after which all layers learn; they are let go one by one, the last first.", above=0,
        at_most=1,
    )  # fmt: skip
    measurements: int = setting(8, "How often it is measured on the images that choose.", at_least=1)
    margin: float = setting(
        0.005, "What the encoder must gain on these images to be taken, beyond its uncertainty.", at_least=0, below=1
    )
    certainty: float = setting(  # 1.64 would be 95% of a single look; the best of eight looks is as sure at 2.5
        2.5, "Standard errors that are taken from a gain before it is compared with the margin.", at_least=0
    )
    data: DataConfig = setting(DataConfig(image_size=None), "Where the images come from.")
    augmentation: AugmentConfig = setting(AugmentConfig(), "How an image becomes a view.")
    encoder: EncoderConfig | None = setting(None, "None: the encoder's own.")
    optimizer: OptimizerConfig = setting(_ADAM, "How weights follow gradients.")
    loop: AdaptLoop = setting(AdaptLoop(train_epochs=20), "How long, where to, which devices.")
    defaults: Defaults = setting(Defaults(64, 1.0), "What is taken where nothing is asked for.", stored=False)

    def __post_init__(self):
        super().__post_init__()
        if self.head_only >= self.unfreeze:
            raise InputError(
                "`head_only` must be less than `unfreeze`, by when all layers learn. Received: "
                f"head_only={self.head_only:g}, unfreeze={self.unfreeze:g}."
            )
        for name, value in dataclasses.asdict(self.optimizer).items():
            if name not in OF_THE_OPTIMIZER and value != getattr(_ADAM, name):
                raise InputError(
                    f"`{name}` must be {getattr(_ADAM, name)} here, where Adam has a rate for each layer and an anchor "
                    f"in place of weight decay. Received: {name}={value}."
                )
        if self.loop.restore_step is not None:
            raise InputError(
                "`restore_step` must be left out here: the best state on the way is kept in any case. Received: "
                f"restore_step={self.loop.restore_step}."
            )
