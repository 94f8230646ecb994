"""The networks of this package by name: each registers itself in its own file."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import keras


class Network(NamedTuple):
    """How a network is made.

    Attributes:
        make: a function of `input_shape` and options that gives a `keras.Model`, images `[B, H, W, C]` -> features `[B, F]`.
        takes: which settings of `EncoderConfig` are among its options, by the same name.
    """

    make: Callable[..., keras.Model]
    takes: tuple[str, ...] = ()


NETWORKS: dict[str, Network] = {}
"""What `--encoder=NAME` makes; `encoder_from_name` fills it with what the modules beside it register."""


def register_encoder(name: str, *, takes: tuple[str, ...] = ()) -> Callable[[Callable[..., keras.Model]], Callable]:
    """Makes a function the network of a name; the arguments are those of `Network`."""

    def registered(make: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        NETWORKS[name] = Network(make, takes)
        return make

    return registered
