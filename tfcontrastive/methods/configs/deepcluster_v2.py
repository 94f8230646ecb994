"""The settings of DeepCluster v2."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class DeepClusterV2Config(BaseConfig):
    """DeepCluster v2's own settings; the defaults are those of ResNet-50 on ImageNet with batches of 4,096."""

    bank_size: int = setting(1_281_167, "Images in the memory bank: the size of the training set.", at_least=2)
    temperature: float = setting(0.1, "Temperature of the softmax over prototypes.", above=0)
    num_prototypes: int = setting(3000, "Clusters of each clustering, whose centroids are the prototypes.", at_least=2)
    num_clusterings: int = setting(3, "Clusterings; they take the banks of the large views in turn.", at_least=1)
    clustering_iterations: int = setting(10, "Iterations of spherical k-means.", at_least=1)
    clustering_steps: int = setting(312, "Steps from one clustering to the next: an epoch.", at_least=1)
    epsilon: float = setting(0.05, "How soft Sinkhorn's assignments are, in the steps before any clusters.", above=0)
    hidden_dim: int = setting(2048, "Hidden width of the projector.", at_least=1)
    proj_out_dim: int = setting(128, "Size of the embedding, and of a prototype.", at_least=1)
