"""Text backbones of keras_hub as encoders of token ids."""

from __future__ import annotations

import importlib
from typing import Any

import keras
from keras import layers

from tfcontrastive.config import InputError, unknown
from tfcontrastive.encoders.hub import FirstToken
from tfcontrastive.encoders.text import POOLS
from tfcontrastive.encoders.text_layers import MaskedMean


def hub_text_encoder(backbone: str | keras.Model, *, pool: str = "mean", **options: Any) -> keras.Model:
    """A text backbone of keras_hub as an encoder: what its preprocessor gives -> features `[B, D]`.

    Its inputs are the backbone's own, a dictionary of `token_ids`, `padding_mask` and what else its family has, all
    integers `[B, N]`: a preprocessor of keras_hub makes it of strings, in the pipeline of the data.

    Args:
        backbone: a `keras_hub.models.Backbone`, or a preset: a name of keras_hub's, a handle (`hf://...`, `kaggle://...`)
            or a directory.
        pool: "mean" of the tokens that are no padding, or "token", the first.
        **options: of keras_hub's `Backbone.from_preset`, with a preset.

    Raises:
        InputError: keras_hub is not installed, there is no such preset, or it is no backbone of texts.

    Examples:
        >>> keras_hub = importlib.import_module("keras_hub")
        >>> sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
        >>> bert = keras_hub.models.BertBackbone(vocabulary_size=30, max_sequence_length=12, **sizes)
        >>> hub_text_encoder(bert).output_shape
        (None, 8)
    """
    if pool not in POOLS:
        raise InputError(f"`pool` {unknown(pool, POOLS)}")
    if isinstance(backbone, str):
        backbone = _from_preset(backbone, options)
    given = getattr(backbone, "input", None)
    if not isinstance(given, dict) or not {"token_ids", "padding_mask"} <= set(given):
        raise InputError(
            "`backbone` must be one of keras_hub's of texts, which takes token_ids and padding_mask. "
            f"Received: {type(backbone).__name__}."
        )
    output = backbone.output
    tokens = output["sequence_output"] if isinstance(output, dict) else output
    if pool == "token":
        pooled = FirstToken(name="pool")(tokens)
    else:
        pooled = MaskedMean(name="pool", dtype=tokens.dtype)(tokens, given["padding_mask"])
    features = layers.Activation("linear", name="features", dtype="float32")(pooled)
    return keras.Model(given, features, name=backbone.name)


def _from_preset(preset: str, options: dict[str, Any]) -> keras.Model:
    try:
        keras_hub = importlib.import_module("keras_hub")
    except ImportError as error:
        raise InputError(f"`backbone` {preset!r} needs keras-hub: pip install keras-hub. Received: {error}.") from error
    try:
        return keras_hub.models.Backbone.from_preset(preset, **options)
    except (ValueError, TypeError, OSError, KeyError) as error:
        raise InputError(
            f"`backbone` must be a preset that keras_hub has. Received: {preset!r}: {str(error).strip().splitlines()[0]}"
        ) from error
