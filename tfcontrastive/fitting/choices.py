"""What is decided from the images and the time, and why: each choice a value and a reason of one line."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfcontrastive.config import EncoderConfig, TrainConfig, replace_flat
from tfcontrastive.fitting.appearance import asymmetry, ink
from tfcontrastive.fitting.survey import Survey
from tfcontrastive.system.hardware import machine_memory
from tfcontrastive.system.precision import Precision, training_flops

RECORD = "docs/record.md"
"""Where the package's own measurements of methods and networks at fixed minutes stand."""

_ORIENTED, _INK = 0.2, 0.85
_MEMORY_SHARE = 0.5  # of the machine's, for a run's weights and activations
_TRAINING_SHARE = 0.55  # of the minutes, roughly
_EFFICIENCY = 0.5  # of a network, against bare convolutions: normalisation, views and optimizer


@dataclasses.dataclass(frozen=True)
class Choice:
    """A setting that was decided.

    Attributes:
        name: the flag of `tfcontrastive train`.
        value: its value.
        reason: why, in a few words.
    """

    name: str
    value: Any
    reason: str

    def line(self) -> str:
        """On one line."""
        value = str(self.value).lower() if isinstance(self.value, bool) else self.value
        return f"--{self.name}={value}  {self.reason}"


class Rung(NamedTuple):
    """Height and width of the images, depth and width of a ResNet, and its stem: small, strided or large."""

    size: int
    depth: int
    width: float
    stem: str


# From the dearest to the cheapest.
LADDER = (
    (224, 50, 1.0), (224, 18, 1.0), (160, 18, 1.0), (128, 18, 1.0), (128, 18, 0.5), (96, 18, 0.5), (64, 18, 0.5),
    (64, 18, 0.25), (48, 18, 0.25),
)  # fmt: skip
SMALL = ((18, 1.0, "small"), (18, 0.5, "small"), (18, 0.5, "strided"), (18, 0.25, "strided"))
"""The same of images of at most 32 pixels: a stem of stride two costs a quarter, and many more views are learned from."""

_PER_PIXEL = {
    (18, "large"): 36e3, (50, "large"): 82e3, (18, "small"): 545e3, (18, "strided"): 71e3,
}  # fmt: skip
"""Multiplications for each pixel of an image, forward, at full width, by depth and stem; of the last one's two groups."""

OF_RUNS = {
    "optimizer": ("muon", f"learned as much as AdamW in the same time or more, at its rates: {RECORD}"),
    "learning_rate": (0.004, "as in the recipe embedded_simclr"),
    "weight_decay": (1e-4, "as there"),
}
OF_STARTED = {"optimizer": ("adamw", "muon was not tried on weights that have learned already")}
OF_STRIDED = {"learning_rate": (0.008, "as in the recipe record_5min")}
OF_SIMCLR = {"temperature": (0.2, "as there"), "num_proj_layers": (2, "as there")}
OF_GRIDS = {"proj_hidden_dim": (256, "as in the recipe record_5min, for the many features of the grids")}


def decide(
    config: TrainConfig,
    survey: Survey,
    *,
    asked: frozenset[str],
    minutes: float | None,
    num_images: int,
    precision: Precision,
    started: bool = False,
) -> tuple[TrainConfig, list[Choice]]:
    """The config with every setting decided that was not asked for, but its length.

    Args:
        config: of a request.
        survey: of its images.
        asked: settings that stay as they are.
        minutes: of the whole; None: not limited.
        num_images: that are trained on.
        precision: that this device computes in.
        started: the encoder is that of other weights: its network is not chosen.

    Returns:
        the config, and the choices in the order in which they are told.
    """
    choices: list[Choice] = []

    def choose(name: str, value: Any, reason: str) -> None:
        if name not in asked:
            choices.append(Choice(name, value, reason))

    if config.loop.mixed_precision == "auto":
        choose("mixed_precision", precision.name, precision.reason)
    if "method" not in asked:
        choose("method", "simclr", f"learned most of all methods without labels, at this length: {RECORD}")
    (size, depth, width, stem), why = _network(survey, config, asked, minutes, num_images, precision)
    choose("image_size", size, why["image_size"])
    if not started and config.encoder.encoder == "resnet" and not asked & {"encoder", "sk_ratio", "se_ratio"}:
        choose("resnet_depth", depth, why["network"])
        choose("width_multiplier", width, "as the depth")
        if stem == "strided" and not asked & {"resnet_depth", "width_multiplier"}:
            choose("stem", stem, f"a quarter of the operations, so many more views in the time: {RECORD}")
        if (
            config.method == "simclr"  # other heads are as wide as the features, which Muon's products make dear
            and not asked & {"resnet_depth", "width_multiplier", "stem", "feature_grids"}
            and config.encoder.norm == "batch"
        ):
            cells = grids_of(depth, width, stem)
            if cells is not None:
                choose("feature_grids", cells, f"groups of blocks, and where they see what: learned more: {RECORD}")
            choose("whiten_features", True, f"the few directions of most variance would rule kNN and search: {RECORD}")
    batch, reason = batch_of(num_images)
    choose("train_batch_size", batch, reason)
    own = OF_SIMCLR if config.method == "simclr" else {}
    made = {one.name for one in choices}
    strided = OF_STRIDED if "stem" in made else {}
    grids = OF_GRIDS if "feature_grids" in made else {}
    for name, (value, reason) in {**OF_RUNS, **(OF_STARTED if started else {}), **own, **strided, **grids}.items():
        choose(name, value, reason)
    choices += [one for one in augmentation(survey, size) if one.name not in asked]
    return replace_flat(config, {one.name: one.value for one in choices}), choices


def _network(
    survey: Survey,
    config: TrainConfig,
    asked: frozenset[str],
    minutes: float | None,
    num_images: int,
    precision: Precision,
) -> tuple[Rung, dict[str, str]]:
    """Image size, depth, width, and why: the dearest rung of the ladder that the images and the minutes allow."""
    own = max(8, int(np.median(survey.short_sides)))
    limit = config.data.image_size if "image_size" in asked else own
    rungs = [Rung(size, depth, width, "large") for size, depth, width in LADDER if size <= limit]
    if limit <= 32:
        rungs = [Rung(limit, *network) for network in SMALL]
    elif "image_size" in asked:
        rungs = [Rung(limit, depth, width, "large") for _, depth, width in LADDER[1:]]
    else:
        rungs.append(Rung(32, *SMALL[-1]))
    wanted = float(np.clip(20 * num_images, 50_000, 5_000_000))
    views = dict.fromkeys(rungs, 0.0)
    seconds = _TRAINING_SHARE * 60 * minutes if minutes is not None else float("inf")
    rate = _EFFICIENCY * training_flops(precision.name)
    chosen = rungs[-1]
    for rung in rungs:
        views[rung] = seconds * rate / flops_of_view(rung)
        if views[rung] >= wanted:
            chosen = rung
            break
    sides = f"the images' shorter side is {own:,} in the middle"
    seen = "any number of views"
    if minutes is not None:
        seen = f"about {_about(views[chosen]):,} views fit into {minutes:g} minutes"
    reasons = {
        "image_size": sides if chosen.size == own else f"{sides}; {seen} at this size",
        "network": f"{seen}, of {num_images:,} images: the largest that sees them often enough, or the smallest there is",
    }
    return chosen, reasons


def _about(number: float) -> int:
    """A number with two digits that count."""
    digits = max(0, len(str(int(number))) - 2)
    return round(int(number), -digits)


def grids_of(depth: int, width: float, stem: str) -> str | None:
    """Cells of the places of each group of blocks that become features; None: the mean of the last map, as it is.

    At most 2,304 features of large images: a whitening takes the cube of their number, so a ResNet-50's four groups would
    be too many.
    """
    if stem == "strided":
        return "4,4,0,0"
    if depth == 50:
        return None
    return "2,2,2,1" if stem == "large" and width == 1.0 else "4,4,2,1"


def flops_of_view(rung: Rung) -> float:
    """Operations of a training step for each view: forward, and twice that backward."""
    return 6 * _PER_PIXEL[rung.depth, rung.stem] * rung.size**2 * rung.width**2


def batch_of(num_images: int) -> tuple[int, str]:
    """The largest power of two that makes eight steps of an epoch, from 16 to 128, or 256 on an accelerator."""
    most = 256 if tf.config.list_physical_devices("GPU") else 128
    batch = int(2 ** np.floor(np.log2(max(num_images / 8, 1))))
    batch = min(max(batch, 16), most, num_images)
    return batch, f"of {num_images:,} images: at least eight steps an epoch, at most {most} images a step"


def fits_memory(needed: float) -> bool:
    """Whether a run of so many bytes leaves the machine room for its images and for others."""
    available = machine_memory()
    return available is None or needed <= _MEMORY_SHARE * available


def augmentation(survey: Survey, size: int) -> list[Choice]:
    """Views from how the images look."""
    found = []
    if size <= 64:
        found.append(Choice("crop_min_area", 0.5, "images of 64 pixels or fewer lose what they show in smaller crops"))
    else:
        found.append(Choice("crop_min_area", 0.2, "as MoCo's; 0.08, SimCLR's, is for long runs"))
    thumbnails = survey.thumbnails
    one_sided, black_on_white = asymmetry(thumbnails), ink(thumbnails)
    if survey.share("gray") > 0.95 and black_on_white > _INK:
        reason = f"{black_on_white:.0%} of the pixels are black or white, as of letters, which must not be mirrored"
        found.append(Choice("keep_orientation", True, reason))
    elif one_sided > _ORIENTED:
        reason = f"left and right differ: {one_sided:.0%} of what mirroring changes is alike in all images"
        found.append(Choice("keep_orientation", True, reason))
    if survey.channels == 1 or (survey.channels in (3, 4) and survey.share("gray") > 0.95):
        found.append(
            Choice("keep_color", True, "the images are gray: brightness and contrast vary, hue would do nothing")
        )
    elif survey.channels not in (1, 3, 4):
        found.append(Choice("keep_color", True, f"{survey.channels} channels are no colours"))
    return found


def network_of(encoder: EncoderConfig) -> str:
    """The network in words."""
    if encoder.encoder != "resnet":
        return os.path.basename(encoder.encoder)
    width = "" if encoder.width_multiplier == 1 else f", {encoder.width_multiplier:g} as wide"
    return f"ResNet-{encoder.resnet_depth}{width}"
