"""The settings of CMC."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, InputError, setting
from tfcontrastive.methods.configs.bank_objective import OBJECTIVES, check_objective

LAB = "lab"


def parse_groups(text: str) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Two groups of channels, by number; None of `lab`.

    Examples:
        >>> parse_groups("0,1,2/3"), parse_groups("lab")
        (((0, 1, 2), (3,)), None)
    """
    if text == LAB:
        return None
    try:
        first, second = (tuple(int(channel) for channel in group.split(",")) for group in text.split("/"))
    except ValueError:
        first = second = (-1,)
    channels = (*first, *second)
    if min(channels) < 0 or len(set(channels)) < len(channels):
        raise InputError(
            "`channel_groups` must be lab, or two groups of channel numbers that share none, such as 0,1,2/3. "
            f"Received: channel_groups={text!r}."
        )
    return first, second


@dataclasses.dataclass(frozen=True)
class CMCConfig(BaseConfig):
    """CMC's own settings."""

    channel_groups: str = setting(
        LAB, "What each tower sees: lab, lightness and color of RGB images; or two groups of channels, such as 0,1,2/3."
    )
    bank_size: int = setting(1_281_167, "Images in the memory banks: the size of the training set.", at_least=2)
    temperature: float = setting(0.07, "Temperature of the contrastive loss.", above=0)
    objective: str = setting("nce", "nce: logistic, as in the paper; info_nce: softmax.", choices=OBJECTIVES)
    num_negatives: int = setting(
        16_384, "Entries of a bank that an image is compared with; 0, of info_nce: all.", at_least=0
    )
    bank_momentum: float = setting(0.5, "Share of an entry that an update keeps.", at_least=0, below=1)
    proj_out_dim: int = setting(128, "Size of the embedding of a tower.", at_least=1)

    def __post_init__(self):
        super().__post_init__()
        parse_groups(self.channel_groups)
        check_objective(self.objective, self.num_negatives)
