"""From a config to networks and compiled models."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import keras
from absl import logging

from tfcontrastive import augment, data, encoders, methods, optimizers
from tfcontrastive.config import EncoderConfig, InputError, OptimizerConfig, RunConfig, TrainConfig
from tfcontrastive.encoders.by_name import networks
from tfcontrastive.runs.schedule import Plan, Settings
from tfcontrastive.system.precision import resolve

SHORT_RUN = 5_000
"""Steps below which a ResNet's residual branches start open: AdamW moves a gamma by the learning rate a step at most, so
at a peak of 1e-3 that many steps, with their decay, take it from 0 to 2.5, and a tenth of them no farther than .25."""


def build_model(config: TrainConfig, images: data.ImageSpec, plan: Plan) -> methods.ContrastiveModel:
    """The compiled model of a run. Call it in the strategy's scope."""
    model = build_method(config, images, plan)
    compile_model(model, config.optimizer, config.loop, plan)
    return model


def build_method(config: TrainConfig, images: data.ImageSpec, plan: Plan) -> methods.ContrastiveModel:
    """The model of a run, without an optimizer."""
    cls = methods.method_class(config.method)
    if "label" in cls.batch_keys and images.num_classes is None:
        raise InputError(
            f"`method={config.method}` needs labels, such as those of a folder of each class. Received: {images.name}, "
            "which has none. Use --method=simclr."
        )
    num_classes = images.num_classes if config.loop.lineareval_while_pretraining else None
    with precision(config.loop.mixed_precision):
        encoder_config, size = encoder_and_size(config, cls.policy_of(config.augmentation, config.method_config))
        encoder = build_encoder(encoder_config, image_size=size, channels=images.channels)
        return cls(
            encoder,
            config.method_config,
            num_classes=num_classes,
            augmentation=config.augmentation,
            seed=config.loop.seed,
            global_bn=config.encoder.global_bn,
            batch_norm_decay=config.encoder.batch_norm_decay,
            total_steps=plan.steps,
            micro_batch_size=config.loop.micro_batch_size,
            gradient_accumulation_steps=config.loop.gradient_accumulation_steps,
        )


def compile_model(model: keras.Model, config: OptimizerConfig, loop: RunConfig, plan: Plan) -> None:
    """Compiles a model with the run's optimizer."""
    model.compile(
        optimizer=make_optimizer(config, loop, plan),
        jit_compile={"auto": "auto", "on": True, "off": False}[loop.jit_compile],
        steps_per_execution=loop.steps_per_execution,
    )


def make_optimizer(config: OptimizerConfig, loop: RunConfig, plan: Plan) -> keras.optimizers.Optimizer:
    """The run's optimizer, which has no weights to move yet."""
    optimizer = optimizers.build(
        config.optimizer,
        learning_rate=plan.schedule,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        global_clipnorm=config.clip_norm or None,
        clipnorm=config.clip_norm_per_weight or None,
        exclude_from_weight_decay=() if config.decay_all_weights else None,
        **({"nesterov": config.nesterov} if config.optimizer == "momentum" else {}),
        **_decay_ramp(config, plan),
    )
    if loop.mixed_precision == "float16":
        optimizer = optimizers.LossScale(optimizer)
    return optimizer


def _decay_ramp(config: OptimizerConfig, plan: Plan) -> dict[str, Any]:
    if config.weight_decay_end is None:
        return {}
    return {"weight_decay_end": config.weight_decay_end, "weight_decay_steps": plan.steps}


def with_first_gammas(config: Settings, plan: Plan | None = None, stored: Mapping[str, Any] | None = None) -> Settings:
    """The config of a run with `zero_init_residual` decided, where it was left open.

    Args:
        config: of a run.
        plan: of the run; its length decides where there is no earlier run.
        stored: the config of the run that goes on: it stays as it is.
    """
    encoder = config.encoder
    if encoder is None or encoder.zero_init_residual is not None:
        return config
    network = networks().get(encoder.encoder)
    if network is None or "zero_init_residual" not in network.takes:
        return config
    if stored is not None:
        zero = (stored["encoder"] or {}).get("zero_init_residual")
    else:
        zero = plan.steps >= SHORT_RUN
        how = "start shut, as in SimCLR's code" if zero else f"start open, as it has fewer than {SHORT_RUN:,} steps"
        logging.info("The residual branches of this run %s: zero_init_residual=%s.", how, str(zero).lower())
    return config.changed(encoder=dataclasses.replace(encoder, zero_init_residual=zero))


def encoder_and_size(config: TrainConfig, policy: augment.Policy) -> tuple[EncoderConfig, int | None]:
    """The config of a run's encoder and the size of its images; None, any size, where it sees several.

    Raises:
        InputError: views of a size that the policy's name or the encoder's patches do not allow.
    """
    size, sides = config.data.image_size, policy.sides(config.data.image_size)
    seen = methods.method_class(config.method).encoded_sides(config.method_config, sides)
    patch = config.encoder.patch_size
    if config.encoder.encoder.startswith("vit_") and any(side % patch for side in (*seen, size)):
        sizes = " and ".join(str(side) for side in sorted({*seen, size}, reverse=True))
        what = "every view" if seen == sides else "images and their tiles"
        raise InputError(
            f"`patch_size` must divide the height and width of {what}, {sizes} pixels. Received: patch_size={patch}."
        )
    if set(seen) == {size}:
        return config.encoder, size
    stem = "small" if size <= encoders.SMALL_IMAGE else "large"  # what `auto` would be, were the size known
    return dataclasses.replace(
        config.encoder, stem=stem if config.encoder.stem == "auto" else config.encoder.stem
    ), None


def build_encoder(config: EncoderConfig, *, image_size: int | None, channels: int) -> keras.Model:
    """The encoder of a run, images `[B, image_size, image_size, channels]` in [0, 1] -> features `[B, F]`."""
    network = build_network(config, image_size=image_size, channels=channels)
    rule = data.Preprocessing.named(config.preprocessing)
    if rule.normalizes and config.encoder.startswith("keras_hub/"):
        raise InputError(
            "`preprocessing` must be simclr or pixels with a keras_hub preset, which brings its own normalisation. "
            f"Received: preprocessing={config.preprocessing} with {config.encoder}."
        )
    return rule.on_pixels(network)


def build_network(config: EncoderConfig, *, image_size: int | None, channels: int) -> keras.Model:
    """The network of a run alone, for images that are normalised already.

    Raises:
        InputError: an unknown name, or images that the network cannot take.
    """
    shape = (image_size, image_size, channels)
    network = networks().get(config.encoder)
    given = {name: getattr(config, name) for name in network.takes} if network else {}
    options = {name: value for name, value in given.items() if value is not None}
    return encoders.encoder_from_name(config.encoder, input_shape=shape, **options)


OF_TRAINING = ("global_bn", "batch_norm_decay", "zero_init_residual")
"""Fields of an encoder's config that are no part of its architecture: a run may start from weights of others."""


def check_network(asked: EncoderConfig, held: EncoderConfig | None, name: str) -> None:
    """A run that starts from weights has the network that these are of; their shapes alone do not tell it.

    Args:
        asked: the run's.
        held: that of the weights; None where it is not known.
        name: where they come from.

    Raises:
        InputError: the two differ; names the field.
    """
    if held is None:
        return
    for field in dataclasses.fields(asked):
        own, other = getattr(asked, field.name), getattr(held, field.name)
        if own != other and own not in ("auto", None) and field.name not in OF_TRAINING:
            raise InputError(
                f"`{field.name}` must be that of {name}, {other}. Received: {field.name}={own}. Leave the flags of the "
                "encoder out to take its own network."
            )


@contextlib.contextmanager
def precision(mixed_precision: str) -> Iterator[None]:
    """Layers made inside get this precision; Keras' own setting is put back afterwards."""
    before = keras.config.dtype_policy()
    name = resolve(mixed_precision).name
    keras.config.set_dtype_policy(name if name == "float32" else f"mixed_{name}")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
