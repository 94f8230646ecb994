"""The settings of SwAV."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class SwAVConfig(BaseConfig):
    """SwAV's own settings; the defaults are those of ResNet-50 and batches of 4,096."""

    temperature: float = setting(0.1, "Temperature of the softmax over prototypes.", above=0)
    num_prototypes: int = setting(3000, "Prototypes that images are assigned to.", at_least=2)
    epsilon: float = setting(0.05, "How soft assignments are.", above=0)
    sinkhorn_iterations: int = setting(3, "Iterations that make the prototypes' shares equal.", at_least=1)
    hidden_dim: int = setting(2048, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = setting(128, "Size of the embedding, and of a prototype.", at_least=1)
    freeze_prototypes_steps: int = setting(313, "First steps in which the prototypes stay as they are.", at_least=0)
    queue_size: int = setting(
        0, "Past embeddings that are assigned together with a small batch, a multiple of it; 0: none.", at_least=0
    )
    queue_start_step: int = setting(0, "First step that uses the queue; it is full by then.", at_least=0)
