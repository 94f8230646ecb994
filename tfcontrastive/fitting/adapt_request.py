"""What is asked for of an adaptation: the images, the encoder, the minutes, and the settings that are not to be decided."""

from __future__ import annotations

import os
from typing import Any

from tfcontrastive.config import InputError, flat_fields, replace_flat, unknown
from tfcontrastive.config.adapt import AdaptConfig
from tfcontrastive.fitting.request import Request, dataset_of


def make_request(
    what: str | os.PathLike, *, minutes: float | None, output_dir: str | os.PathLike | None, **settings: Any
) -> Request[AdaptConfig]:
    """The request of a folder or a data set, with the settings of an `AdaptConfig` by name.

    Raises:
        InputError: no such images or setting, or not one encoder.

    Examples:
        >>> make_request("embedded", checkpoint="runs/a", minutes=6, output_dir=None).config.loop.model_dir
        'embedded_adapted'
    """
    base = AdaptConfig()
    known = flat_fields(base).keys() - {"dataset", "model_dir", "encoder"}
    for setting in settings:
        if setting not in known:
            raise InputError(f"a setting of `adapt` {unknown(setting, known)}")
    given = [name for name in ("checkpoint", "saved_model") if settings.get(name) is not None]
    if len(given) != 1:
        raise InputError(
            f"Give one encoder to adapt: a `checkpoint` or a `saved_model`. Received: {' and '.join(given) or 'none'}."
        )
    dataset = dataset_of(os.fspath(what))
    if output_dir is None:
        kind, _, where = dataset.partition(":")
        name = os.path.basename(os.path.abspath(os.path.expanduser(where))) if where else kind.split("/")[0]
        output_dir = f"{name}_adapted"
    config = replace_flat(base, {**settings, "dataset": dataset, "model_dir": os.fspath(output_dir)})
    if config.data.train_split != "train":
        raise InputError(
            "`train_split` must be train, of which `adapt` sets its own parts aside. Received: "
            f"train_split={config.data.train_split}."
        )
    return Request(config, frozenset(settings), minutes)
