"""What a run leaves open, decided before it starts: by data, device and length, or as the run that goes on has it."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from tfcontrastive import data
from tfcontrastive.runs.builders import with_first_gammas
from tfcontrastive.runs.schedule import Plan, Settings, with_numbers
from tfcontrastive.system.precision import resolved


def settled(
    config: Settings,
    source: data.Source,
    strategy: tf.distribute.Strategy,
    *,
    stored: dict[str, Any] | None,
    first_gammas: bool = True,
) -> Settings:
    """The config with its batch, its warm-up, its precision and its first gammas decided; each is said in the log.

    Args:
        config: of a run.
        source, strategy: of the run.
        stored: the settings of the run that goes on, which keeps them; None for a new run.
        first_gammas: decide `zero_init_residual` too; False where the first weights are another encoder's.

    Raises:
        InputError: a batch that does not divide over the replicas, or that the method cannot take.
    """
    config = with_numbers(config, source, strategy.num_replicas_in_sync, stored=stored)
    config = resolved(config, strategy, None if stored is None else stored["loop"]["mixed_precision"])
    if not first_gammas:
        return config
    return with_first_gammas(config, Plan.make(config, source.num_examples(config.data.train_split)), stored)
