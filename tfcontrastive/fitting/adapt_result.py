"""AdaptResult: what `adapt` gives back."""

from __future__ import annotations

import dataclasses

import keras

from tfcontrastive.fitting.measure import Measured
from tfcontrastive.fitting.result import FitResult
from tfcontrastive.pretrained.trained import Trained


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdaptResult(FitResult):
    """What `adapt` made of an encoder; looked at, searched with and gone on with as a `FitResult`.

    Attributes:
        chosen: adapted, or frozen where nothing beat the encoder as it was.
        reason: why, in a sentence.
        network: the encoder that was chosen.
        start: the encoder that was given.
    """

    chosen: str
    reason: str
    network: keras.Model
    start: Trained

    @property
    def encoder(self) -> keras.Model:
        """The encoder that was chosen, images `[B, H, W, C]` in [0, 1] -> features `[B, F]`."""
        return self.network

    @property
    def own(self) -> Measured:
        """The same, measured."""
        return next(one for one in self.measured if one.name == self.chosen)

    def as_trained(self) -> Trained:
        """The same, as other commands take it."""
        size = self.network.input_shape[1]
        name = f"{self.start.name}, {self.chosen}"
        return dataclasses.replace(
            self.start, encoder=self.network, projection_head=None, supervised_head=None, image_size=size, name=name
        )

    def __repr__(self) -> str:
        return f"AdaptResult({self.output_dir!r}: {self.chosen}; {self.reason})"
