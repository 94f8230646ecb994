"""The settings of two towers, and what each loss takes where they are left open."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcontrastive.config import BaseConfig, InputError, setting

LOSSES: dict[str, dict[str, Any]] = {
    "clip": {
        "temperature": 0.07,
        "train_temperature": True,
        "min_temperature": 0.01,
        "max_temperature": 1.0,
        "head": "linear",
        "normalize": True,
    },
    "siglip": {"temperature": 0.1, "train_temperature": True, "logit_bias": -10.0, "head": "linear", "normalize": True},
    "sim_cse": {"temperature": 0.05, "train_temperature": False, "head": "tanh", "normalize": True},
    "dpr": {"temperature": 1.0, "train_temperature": False, "head": "none", "normalize": False},
}
"""What each paper has where a setting is left open."""

WITH_HARD_NEGATIVES = ("sim_cse", "dpr")


@dataclasses.dataclass(frozen=True)
class TwoTowerConfig(BaseConfig):
    """The settings of `TwoTower`. What is None is as the paper of the loss has it:

    | loss | temperature | learned | stays in | head | compared are |
    |---|---|---|---|---|---|
    | clip | 0.07 | yes | [0.01, 1] | linear | directions |
    | siglip | 0.1, and a bias of -10 | yes, both | | linear | directions |
    | sim_cse | 0.05 | no | | tanh | directions |
    | dpr | 1 | no | | none | vectors |

    Examples:
        >>> TwoTowerConfig(loss="siglip").settled().logit_bias
        -10.0
    """

    loss: str = setting("clip", "What pairs are told apart by.", choices=tuple(LOSSES))
    temperature: float | None = setting(None, "Temperature of the logits; where it is learned, at first.", above=0)
    train_temperature: bool | None = setting(None, "Learn the temperature, and siglip's bias.")
    min_temperature: float | None = setting(None, "What a learned temperature does not fall below.", above=0)
    max_temperature: float | None = setting(None, "What a learned temperature does not rise above.", above=0)
    logit_bias: float | None = setting(None, "siglip's bias; where it is learned, at first.")
    head: str | None = setting(
        None,
        "From an encoder's features to what is compared: none, linear, tanh (a layer with tanh) or mlp (two layers).",
        choices=("none", "linear", "tanh", "mlp"),
    )
    proj_out_dim: int | None = setting(
        None, "Width of the heads' outputs; default: of the query's features.", at_least=1
    )
    hidden_dim: int | None = setting(None, "Hidden width of the mlp; default: of its input.", at_least=1)
    embed_head: bool = setting(
        True, "Embeddings are the heads' outputs; False: the features, so that heads only train."
    )
    normalize: bool | None = setting(None, "Compare directions; dpr alone may compare vectors as they are.")
    hard_negative_weight: float = setting(0.0, "sim_cse: what is added to the logit of a query's own hard negative.")

    def __post_init__(self):
        super().__post_init__()
        found = {**dataclasses.asdict(self), **self._open()}
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        for name, loss in {"logit_bias": "siglip", "hard_negative_weight": "sim_cse"}.items():
            if getattr(self, name) != defaults[name] and self.loss != loss:
                raise InputError(
                    f"`{name}` must be left out but for {loss}. "
                    f"Received: {name}={getattr(self, name)!r}, loss={self.loss!r}."
                )
        if not found["normalize"] and self.loss != "dpr":
            raise InputError(f"`normalize` must be true but for dpr. Received: normalize=False, loss={self.loss!r}.")
        if found["head"] == "none" and self.proj_out_dim is not None:
            raise InputError(
                f"`proj_out_dim` must be left out without a head. Received: proj_out_dim={self.proj_out_dim}, head='none'."
            )
        if found["head"] != "mlp" and self.hidden_dim is not None:
            raise InputError(
                "`hidden_dim` must be left out but for an mlp. "
                f"Received: hidden_dim={self.hidden_dim}, head={found['head']!r}."
            )
        low, high = found["min_temperature"] or 0.0, found["max_temperature"] or float("inf")
        if found["train_temperature"] and not low <= found["temperature"] <= high:
            raise InputError(
                f"`temperature` must lie in [{low:g}, {high:g}], from `min_temperature` to `max_temperature`, where it is "
                f"learned. Received: temperature={found['temperature']:g}."
            )

    def settled(self) -> TwoTowerConfig:
        """The same, with what was left open as the paper of the loss has it."""
        return dataclasses.replace(self, **self._open())

    def _open(self) -> dict[str, Any]:
        return {name: value for name, value in LOSSES[self.loss].items() if getattr(self, name) is None}
