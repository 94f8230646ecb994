"""The settings of local aggregation."""

from __future__ import annotations

import dataclasses

from tfcontrastive.config import BaseConfig, setting


@dataclasses.dataclass(frozen=True)
class LocalAggregationConfig(BaseConfig):
    """Local aggregation's own settings; the defaults are those of ResNet-50 on ImageNet with batches of 128."""

    bank_size: int = setting(1_281_167, "Images in the memory bank: the size of the training set.", at_least=2)
    temperature: float = setting(0.07, "Temperature of the similarities.", above=0)
    bank_momentum: float = setting(0.5, "Share of an entry that an update keeps.", at_least=0, below=1)
    num_neighbours: int = setting(4096, "Background neighbours: the closest entries of the bank.", at_least=1)
    num_clusterings: int = setting(10, "Clusterings whose clusters are united.", at_least=1)
    num_clusters: int = setting(30_000, "Clusters of each clustering.", at_least=2)
    clustering_iterations: int = setting(20, "Iterations of k-means.", at_least=1)
    clustering_steps: int = setting(10_009, "Steps from one clustering to the next: an epoch.", at_least=1)
    instance_steps: int = setting(
        100_090, "First steps, of instance discrimination, before the first clustering: ten epochs.", at_least=1
    )
    proj_out_dim: int = setting(128, "Size of the embedding.", at_least=1)
