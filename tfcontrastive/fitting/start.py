"""Trained weights to start from: the network is theirs."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import InputError, TrainConfig
from tfcontrastive.pretrained.trained import Trained, load_trained
from tfcontrastive.runs.builders import OF_TRAINING


def start_of(config: TrainConfig, asked: frozenset[str]) -> tuple[TrainConfig, Trained | None]:
    """The config with the encoder of `checkpoint`, and the size of its images where no other is asked for.

    Args:
        config: of a request.
        asked: settings that were asked for.

    Returns:
        the config, and what to start from; None: at random, or with an encoder that brings its own weights.

    Raises:
        InputError: there is no such encoder, or another network is asked for.
    """
    if config.loop.checkpoint is None:
        return config, None
    size = config.data.image_size if "image_size" in asked else None
    start = load_trained(checkpoint=config.loop.checkpoint, image_size=size)
    if start.config is None:
        raise InputError(f"`checkpoint` must be a pre-training run or published weights. Received: {start.name}.")
    fields = dataclasses.fields(start.config)
    own = {field.name: getattr(config.encoder, field.name) for field in fields if field.name in asked}
    for name, value in own.items():
        if name not in OF_TRAINING and value != getattr(start.config, name):
            raise InputError(
                f"`{name}` must be the checkpoint's, {getattr(start.config, name)}. Received: {name}={value}. Leave the "
                "settings of the encoder out to take its own network."
            )
    training = {name: getattr(config.encoder, name) for name in OF_TRAINING}
    encoder = dataclasses.replace(start.config, **training)
    data = dataclasses.replace(config.data, image_size=size or start.image_size or config.data.image_size)
    return dataclasses.replace(config, encoder=encoder, data=data), start
