"""Optimizers by name, with the meaning that google-research/simclr's flags give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from tfcontrastive.config import InputError, unknown
from tfcontrastive.optimizers.exclusions import BIAS, NORM, SUPERVISED_HEAD, TOKEN
from tfcontrastive.optimizers.lars import LARS
from tfcontrastive.optimizers.muon import Muon
from tfcontrastive.optimizers.weight_decay import Adam, AdamW, Lamb, Momentum

# Class, its fixed options, and what weight decay skips. SimCLR's LARS neither decays nor adapts its supervised head,
# whose kernel has an L2 penalty in the loss instead: to decay it without adapting it is the same.
_OPTIMIZERS: dict[str, tuple[Any, dict[str, Any], tuple[str, ...]]] = {
    "lars": (LARS, {"exclude_from_layer_adaptation": (NORM, BIAS, TOKEN, SUPERVISED_HEAD)}, (NORM, BIAS, TOKEN)),
    "momentum": (Momentum, {"nesterov": True}, (NORM, TOKEN)),
    "adam": (Adam, {}, (NORM, TOKEN)),
    "adamw": (AdamW, {}, (NORM, BIAS, TOKEN)),
    "lamb": (Lamb, {}, (NORM, BIAS, TOKEN)),
    "muon": (Muon, {}, (NORM, BIAS, TOKEN)),
}
NAMES = tuple(_OPTIMIZERS)
DECOUPLED = ("adamw", "lamb", "muon")


def build(
    name: str,
    learning_rate: Any,
    *,
    weight_decay: float = 0.0,
    momentum: float = 0.9,
    exclude_from_weight_decay: Sequence[str] | None = None,
    **kwargs: Any,
) -> keras.optimizers.Optimizer:
    """An optimizer by name.

    | name | rule | weight decay |
    |---|---|---|
    | lars | `LARS` | coupled; not on normalisation parameters and biases |
    | momentum | SGD with Nesterov momentum | coupled, as an L2 penalty; not on normalisation parameters |
    | adam | Adam | coupled, as an L2 penalty; not on normalisation parameters |
    | adamw | AdamW | decoupled; not on normalisation parameters and biases |
    | lamb | LAMB | decoupled; not on normalisation parameters and biases |
    | muon | `Muon` | decoupled; not on normalisation parameters and biases |

    None of them decays a transformer's class token and position embeddings, nor does LARS adapt them.

    The first three mean what they mean in google-research/simclr, where the penalty is part of the loss: add none
    there.

    Args:
        name: one of the names above.
        learning_rate: a float or a schedule.
        weight_decay: >= 0.
        momentum: of lars and momentum; the others take none and ignore it.
        exclude_from_weight_decay: regular expressions, searched in each `variable.path`, instead of the ones above;
            `()` decays every weight, as MoCo does.
        **kwargs: passed on, such as `global_clipnorm`, or `nesterov=False`; with adamw, lamb and muon `weight_decay_end`,
            where the decay goes along a cosine of `weight_decay_steps`.

    Raises:
        InputError: for an unknown name or values out of range.

    Examples:
        >>> build("lars", 0.3, weight_decay=1e-4).name
        'lars'
    """
    if name not in _OPTIMIZERS:
        raise InputError(f"`optimizer` {unknown(name, NAMES)}")
    if not weight_decay >= 0:
        raise InputError(f"`weight_decay` must be >= 0. Received: weight_decay={weight_decay!r}.")
    if kwargs.get("weight_decay_end") is not None and name not in DECOUPLED:
        *others, last = DECOUPLED
        raise InputError(f"`weight_decay_end` must be left out with {name}; {', '.join(others)} and {last} take it.")
    optimizer, options, undecayed = _OPTIMIZERS[name]
    options = {"exclude_from_weight_decay": undecayed, **options, **kwargs}
    if exclude_from_weight_decay is not None:
        options["exclude_from_weight_decay"] = exclude_from_weight_decay
    if name in ("lars", "momentum"):
        options["momentum"] = float(momentum)
    return optimizer(learning_rate=learning_rate, weight_decay=weight_decay, **options)
