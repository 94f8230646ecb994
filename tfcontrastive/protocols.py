"""The protocols of `tfcontrastive evaluate` by name: a new one is an evaluator and one line here."""

from __future__ import annotations

from tfcontrastive import tuning
from tfcontrastive.config import InputError, unknown
from tfcontrastive.evaluate import (
    KNN,
    ContentStyle,
    Evaluator,
    Geometry,
    Invariances,
    Linear,
    OutOfDistribution,
    Robustness,
)

PROTOCOLS: dict[str, type[Evaluator]] = {
    "knn": KNN,
    "linear": Linear,
    "robustness": Robustness,
    "ood": OutOfDistribution,
    "invariances": Invariances,
    "content_style": ContentStyle,
    "geometry": Geometry,
    "semi": tuning.Semi,
    "curve": tuning.Curve,
    "transfer": tuning.Transfer,
}


def protocol_class(name: str) -> type[Evaluator]:
    """The evaluator of a protocol; made without arguments it has the protocol's default settings.

    Raises:
        InputError: there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise InputError(f"`protocol` {unknown(name, PROTOCOLS)}")
    return PROTOCOLS[name]
