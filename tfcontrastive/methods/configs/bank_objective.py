"""How an embedding is compared with a memory bank: what the configs of PIRL and CMC have in common."""

from __future__ import annotations

from tfcontrastive.config import InputError

OBJECTIVES = ("nce", "info_nce")


def check_objective(objective: str, num_negatives: int) -> None:
    """Raises InputError where NCE has no noise."""
    if objective == "nce" and not num_negatives:
        raise InputError(
            "`num_negatives` must be >= 1 with objective=nce. Received: num_negatives=0. Take --objective=info_nce for the "
            "softmax over the whole bank."
        )
