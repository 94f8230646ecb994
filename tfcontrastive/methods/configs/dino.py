"""The settings of DINO."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class DINOConfig(BaseConfig):
    """DINO's own settings; the defaults are the authors' code's."""

    num_prototypes: int = setting(65_536, "Outputs of the head that the softmax is over.", at_least=2)
    hidden_dim: int = setting(2048, "Hidden width of the head.", at_least=1)
    proj_out_dim: int = setting(256, "Size of the head's bottleneck, before its outputs.", at_least=1)
    num_head_layers: int = setting(3, "Layers of the head up to its bottleneck.", at_least=1)
    train_gain: bool = setting(False, "Learn the lengths of the last layer's weights too (ViT-S in the paper).")
    student_temperature: float = setting(0.1, "Temperature of the student's softmax.", above=0)
    teacher_temperature: float = setting(0.04, "Temperature of the teacher's softmax, after its ramp.", above=0)
    teacher_temperature_start: float = setting(0.04, "Temperature of the teacher's softmax at first.", above=0)
    teacher_temperature_steps: int = setting(0, "Steps of the teacher's linear ramp; 0: none.", at_least=0)
    center_momentum: float = setting(0.9, "Share of the centre that a step keeps.", at_least=0, below=1)
    freeze_prototypes_steps: int = setting(
        0, "First steps in which the last layer stays as it is (the paper: one epoch).", at_least=0
    )
    koleo_weight: float = setting(0.0, "Weight of KoLeo, which spreads features out (DINOv2: 0.1).", at_least=0)
    target_momentum: float = setting(0.996, "EMA momentum of the teacher at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = setting(True, "Raise the teacher's momentum to 1 along a cosine.")
