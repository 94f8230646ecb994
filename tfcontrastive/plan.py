"""The numbers of a run."""

from __future__ import annotations

import dataclasses
from typing import Any

from tfcontrastive import optimizers
from tfcontrastive.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Plan:
    """The numbers of a run that follow from its config and the size of its data."""

    num_examples: int
    steps: int
    epoch_steps: int
    execution_steps: int
    warmup_steps: int
    checkpoint_steps: int
    peak_learning_rate: float
    schedule: Any

    @classmethod
    def make(cls, config: TrainConfig, num_examples: int) -> Plan:
        loop, batch = config.loop, config.loop.train_batch_size
        steps = loop.train_steps or optimizers.train_steps(num_examples, batch, loop.train_epochs)
        warmup = optimizers.warmup_steps(num_examples, batch, config.optimizer.warmup_epochs)
        together = loop.steps_per_execution
        epoch_steps = together * max(1, round(num_examples / batch / together))
        peak = optimizers.scaled_learning_rate(
            config.optimizer.learning_rate, batch, config.optimizer.learning_rate_scaling
        )
        return cls(
            num_examples=num_examples,
            steps=steps,
            epoch_steps=epoch_steps,
            warmup_steps=warmup,
            execution_steps=together,
            checkpoint_steps=loop.checkpoint_steps or loop.checkpoint_epochs * epoch_steps,
            peak_learning_rate=peak,
            schedule=optimizers.learning_rate_schedule(peak, steps=steps, warmup_steps=warmup),
        )

    def segments(self, first_step: int) -> list[tuple[int, int, int]]:
        """Calls of `fit` that lead from a step to the end: (first epoch, last epoch, steps an epoch).

        Epochs are whole but for the one that a resumed run starts in and the one that ends the run. What is left of those
        beside whole executions of several steps is a call of its own.
        """
        parts, step = [], first_step
        while step < self.steps:
            epoch, inside = divmod(step, self.epoch_steps)
            whole = (self.steps - step) // self.epoch_steps
            if inside or not whole:
                length = min(self.epoch_steps - inside, self.steps - step)
                if length > self.execution_steps:
                    length -= length % self.execution_steps
                parts.append((epoch, epoch + 1, length))
                step += length
            else:
                parts.append((epoch, epoch + whole, self.epoch_steps))
                step += whole * self.epoch_steps
        return parts
