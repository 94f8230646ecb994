"""How pixels become what a network was trained on: one rule for evaluation, export and serving."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from tfcontrastive.augment import ops
from tfcontrastive.config import BaseConfig, DataConfig, EncoderConfig, InputError, setting, unknown
from tfcontrastive.data.rendering import Rendering, render_as

RESIZES = {
    "bicubic": ("bicubic", False),
    "bilinear": ("bilinear", False),
    "antialiased bilinear": ("bilinear", True),  # as torchvision does on images of Pillow
    "antialiased bicubic": ("bicubic", True),
}


@dataclasses.dataclass(frozen=True)
class Preprocessing(BaseConfig):
    """What is done to an image between its file and a network's first layer.

    The square in the middle, whose side is `crop` of the image's shorter side, is resized; pixels lie in [0, 1] then.
    That is what every encoder of this package takes. What a network wants beyond that is part of the encoder:

        x = (pixels - mean) / std,    the channels in reverse order first if `reverse_channels`

    Attributes:
        crop: side of the square, of the shorter side; images shown at 32 pixels or fewer are not cropped.
        resize: "bicubic", "bilinear", or one of them "antialiased".
        mean, std: of each channel, in units of [0, 1]; one number stands for all of them.
        reverse_channels: whether the network takes blue first.
        background_color: what transparent images lie on; None leaves it to the data, where it is white unless told.
        intensity_range: `LOW,HIGH`, the values of 16-bit images that become 0 and 1; None leaves it to the data too.

    Examples:
        >>> rule = Preprocessing.named("imagenet")
        >>> rule.normalize(rule.crop_and_resize(tf.zeros([300, 400, 3], tf.uint8), 224)).shape
        TensorShape([224, 224, 3])
    """

    crop: float = setting(0.875, "Side of the central square, of the image's shorter side.", above=0, at_most=1)
    resize: str = setting("bicubic", "How it is resized.", choices=tuple(RESIZES))
    mean: tuple[float, ...] = setting((0.0,), "Subtracted from each channel.")
    std: tuple[float, ...] = setting((1.0,), "Each channel is divided by it.")
    reverse_channels: bool = setting(False, "Blue first.")
    background_color: str | None = setting(None, "What transparent images lie on.")
    intensity_range: str | None = setting(None, "LOW,HIGH of 16-bit images.")

    def __post_init__(self):
        super().__post_init__()
        for name in ("mean", "std"):
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        self.rendering()  # refuses what is no colour or range
        if not (self.mean and self.std and min(self.std) > 0):
            raise InputError(f"`std` must be > 0, one for each channel. Received: mean={self.mean}, std={self.std}.")

    @staticmethod
    def named(name: str) -> Preprocessing:
        """A family's rule: one of `PREPROCESSING`.

        Raises:
            InputError: no family has this name.
        """
        if name not in PREPROCESSING:
            raise InputError(f"`preprocessing` {unknown(name, PREPROCESSING)}")
        return PREPROCESSING[name]

    @staticmethod
    def of_run(encoder: EncoderConfig, images: DataConfig) -> Preprocessing:
        """The rule of a run: its family's, and how its image files are decoded."""
        return Preprocessing.named(encoder.preprocessing).decoding_as(images)

    def decoding_as(self, images: DataConfig) -> Preprocessing:
        """This rule, with image files decoded as a config says, where it says something."""
        told = {name: getattr(images, name) for name in ("background_color", "intensity_range")}
        return dataclasses.replace(self, **{name: value for name, value in told.items() if value is not None})

    @staticmethod
    def of(encoder: object) -> Preprocessing:
        """The rule that an encoder came with, as `Trained` has it; SimCLR's where it tells none."""
        return getattr(encoder, "preprocessing", None) or Preprocessing()

    @property
    def normalizes(self) -> bool:
        """Whether the network takes anything else than [0, 1]."""
        return (set(self.mean), set(self.std), self.reverse_channels) != ({0.0}, {1.0}, False)

    def rendering(self, default: Rendering | None = None) -> Rendering:
        """How image files are decoded; `default` where this rule leaves it open."""
        return render_as(self.background_color, self.intensity_range, default)

    def crop_and_resize(self, images: tf.Tensor, size: int) -> tf.Tensor:
        """Images `[H, W, C]` or `[B, H, W, C]` -> float32 `[..., size, size, C]` in [0, 1]."""
        method, antialias = RESIZES[self.resize]
        return ops.center_crop_resize(images, size, self.crop, method=method, antialias=antialias)

    def normalize(self, images: tf.Tensor) -> tf.Tensor:
        """Pixels in [0, 1] to the network's inputs; `[..., C]` both."""
        if self.reverse_channels:
            images = tf.reverse(images, [-1])
        return (images - tf.constant(self.mean, images.dtype)) / tf.constant(self.std, images.dtype)

    def on_pixels(self, network: keras.Model) -> keras.Model:
        """A copy of the network, weights included, with its normalisation before it: it takes images in [0, 1].

        Args:
            network: a functional model of images `[B, H, W, C]`, which are normalised. Its layers keep their names, so
                that they can be asked for. Without a normalisation it is returned as it is.
        """
        if not self.normalizes:
            return network
        rule = Normalize(self.mean, self.std, self.reverse_channels, name="normalize")

        def call(layer, images, *args, **kwargs):
            history = getattr(images, "_keras_history", None)
            first = history is not None and isinstance(history.operation, keras.layers.InputLayer)
            return layer(rule(images) if first else images, *args, **kwargs)

        # New layers: a model around the network would hide them from whoever asks for one by name.
        copy = keras.models.clone_model(network, call_function=call)
        copy.set_weights(network.get_weights())
        return copy


@keras.saving.register_keras_serializable("tfcontrastive")
class Normalize(keras.layers.Layer):
    """The normalisation of `Preprocessing` as a layer: `(pixels - mean) / std`, blue first if `reverse_channels`."""

    def __init__(self, mean=(0.0,), std=(1.0,), reverse_channels: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.rule = Preprocessing(mean=mean, std=std, reverse_channels=reverse_channels)

    def call(self, images):
        return self.rule.normalize(images)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        rule = self.rule
        return {**super().get_config(), "mean": rule.mean, "std": rule.std, "reverse_channels": rule.reverse_channels}


_IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}

PREPROCESSING = {
    "simclr": Preprocessing(),
    "imagenet": Preprocessing(resize="antialiased bilinear", **_IMAGENET),
    "caffe": Preprocessing(
        resize="bilinear",
        mean=(103.939 / 255, 116.779 / 255, 123.68 / 255),
        std=(1 / 255,),
        reverse_channels=True,
    ),
    "symmetric": Preprocessing(resize="bilinear", mean=(0.5,), std=(0.5,)),
    "pixels": Preprocessing(resize="bilinear"),
    "imagenet_bicubic": Preprocessing(resize="antialiased bicubic", **_IMAGENET),
    "imagenet_whole": Preprocessing(crop=1.0, resize="antialiased bilinear", **_IMAGENET),
    "satellite": Preprocessing(
        crop=1.0, resize="antialiased bilinear", mean=(0.43, 0.411, 0.296), std=(0.213, 0.156, 0.143)
    ),
    "clip": Preprocessing(
        crop=1.0,
        resize="antialiased bicubic",
        mean=(0.48145466, 0.4578275, 0.40821073),
        std=(0.26862954, 0.26130258, 0.27577711),
    ),
    "siglip": Preprocessing(crop=1.0, resize="antialiased bicubic", mean=(0.5,), std=(0.5,)),
    "vit": Preprocessing(crop=0.9, resize="antialiased bicubic", mean=(0.5,), std=(0.5,)),
    "efficientnet_lite": Preprocessing(mean=(127 / 255,), std=(128 / 255,)),
}
"""The rule of each family: google-research/simclr; torchvision, MoCo and their kin; keras.applications, whose networks of
Caffe take blue first with the mean subtracted, those of TensorFlow [-1, 1], and the rest plain pixels; DINO, DINOv2 and MAE;
DINOv3, of photographs and of satellites' images; CLIP; SigLIP; the first vision transformers; and EfficientNet-Lite."""
