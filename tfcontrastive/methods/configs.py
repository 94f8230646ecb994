"""The settings of every method. They need no TensorFlow, so that the command line answers at once."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import Checked, option


@dataclasses.dataclass(frozen=True)
class SimCLRConfig(Checked):
    """SimCLR's own settings. The defaults are those of google-research/simclr's flags; v1's head has two layers."""

    temperature: float = option(0.1, "Temperature of the contrastive loss.", above=0)
    hidden_norm: bool = option(True, "Compare directions: L2-normalise the projections.")
    proj_head_mode: str = option(
        "nonlinear", "The projection head: none, linear, or a multi-layer one.", choices=("none", "linear", "nonlinear")
    )
    num_proj_layers: int = option(3, "Layers of the nonlinear projection head (v1: 2, v2: 3).", at_least=1)
    proj_out_dim: int = option(128, "Size of the projection.", at_least=1)
    ft_proj_selector: int = option(
        0, "Layer of the projection head that fine-tuning starts from; 0: before the head, -1: its end.", at_least=-1
    )
    memory_size: int = option(
        0, "SimCLRv2's memory: past projections as further negatives, a multiple of two batches; 0: none.", at_least=0
    )
    target_momentum: float = option(0.999, "EMA momentum of the network that fills the memory.", at_least=0, at_most=1)


@dataclasses.dataclass(frozen=True)
class MoCoConfig(Checked):
    """MoCo's own settings; the defaults are v1's. v2: temperature 0.2, an mlp head, the augmentation moco_v2."""

    temperature: float = option(0.07, "Temperature of the contrastive loss.", above=0)
    queue_size: int = option(65_536, "Keys in the queue; a multiple of the global batch.", at_least=1)
    target_momentum: float = option(0.999, "EMA momentum of the key encoder.", at_least=0, at_most=1)
    moco_head: str = option("linear", "The head: linear (v1) or mlp (v2).", choices=("linear", "mlp"))
    proj_out_dim: int = option(128, "Size of the projection.", at_least=1)
    bn_splits: int = option(
        1, "Batch-norm groups on one device, in place of the replicas that shuffling needs.", at_least=1
    )


@dataclasses.dataclass(frozen=True)
class MoCoV3Config(Checked):
    """MoCo v3's own settings; the defaults are those of ResNet-50."""

    temperature: float = option(1.0, "Temperature of the contrastive loss (ViT: 0.2).", above=0)
    hidden_dim: int = option(4096, "Hidden width of projector and predictor.", at_least=1)
    proj_out_dim: int = option(256, "Size of the projection.", at_least=1)
    num_proj_layers: int = option(2, "Layers of the projector (ResNet: 2, ViT: 3).", at_least=1)
    predictor_last_norm: bool = option(False, "Batch norm after the predictor (ResNet: no, ViT: yes).")
    target_momentum: float = option(0.99, "EMA momentum of the key encoder at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = option(True, "Raise the momentum to 1 along a cosine.")


@dataclasses.dataclass(frozen=True)
class ReLICConfig(Checked):
    """ReLIC's own settings. Temperature and alpha are not published: the defaults are this project's."""

    temperature: float = option(0.2, "Temperature of the contrastive loss.", above=0)
    alpha: float = option(1.0, "Weight of the invariance penalty.", at_least=0)
    use_target: bool = option(False, "ReLIC_T: compare with a momentum network, with BYOL's heads.")
    critic_hidden_dim: int = option(
        4096,
        "Width of the critic's first layer, halved from layer to layer; of both heads with use_target.",
        at_least=8,
    )
    proj_out_dim: int = option(128, "Size of the critic's output (the paper with use_target: 256).", at_least=1)
    target_momentum: float = option(0.996, "EMA momentum of the target at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = option(True, "Raise the target's momentum to 1 along a cosine.")


@dataclasses.dataclass(frozen=True)
class BYOLConfig(Checked):
    """BYOL's own settings; the defaults are the paper's for 1,000 epochs."""

    hidden_dim: int = option(4096, "Hidden width of projector and predictor.", at_least=1)
    proj_out_dim: int = option(256, "Size of the projection.", at_least=1)
    target_momentum: float = option(0.996, "EMA momentum of the target at the start.", at_least=0, at_most=1)
    target_momentum_ramp: bool = option(True, "Raise the target's momentum to 1 along a cosine.")


@dataclasses.dataclass(frozen=True)
class SupConConfig(Checked):
    """SupCon's own settings."""

    temperature: float = option(0.1, "Temperature of the contrastive loss.", above=0)
    hidden_dim: int = option(2048, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = option(128, "Size of the projection.", at_least=1)


@dataclasses.dataclass(frozen=True)
class BarlowTwinsConfig(Checked):
    """Barlow Twins' own settings."""

    hidden_dim: int = option(8192, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = option(8192, "Size of the projection.", at_least=1)
    num_proj_layers: int = option(3, "Layers of the projector.", at_least=1)
    off_diagonal_weight: float = option(0.0051, "Weight of the redundancy term (the paper's lambda).", at_least=0)
    loss_scale: float = option(
        0.024,
        "Multiplies the loss, as the authors' code did: with LARS the rate of biases and batch norm; kernels see it only "
        "against their weight decay.",
        above=0,
    )


@dataclasses.dataclass(frozen=True)
class InstDiscConfig(Checked):
    """Instance discrimination's own settings."""

    bank_size: int = option(1_281_167, "Images in the memory bank: the size of the training set.", at_least=2)
    temperature: float = option(0.07, "Temperature of the softmax over instances.", above=0)
    num_negatives: int = option(4096, "Noise samples of the NCE; 0: the full softmax over the bank.", at_least=0)
    bank_momentum: float = option(0.5, "Share of an entry that an update keeps.", at_least=0, below=1)
    proj_out_dim: int = option(128, "Size of the embedding.", at_least=1)
