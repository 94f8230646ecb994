"""Losses: pure functions of embeddings, one family a file.

All take `[B, D]` tensors of any float dtype, compute in float32 (float64 input: in float64) and return a scalar. Those
that contrast a batch with itself see the rows of all replicas; a replica's loss is the mean over its own rows, and the
training step divides by the number of replicas, once.
"""

from tfcontrastive.losses.distillation import distillation
from tfcontrastive.losses.geometry import alignment, embedding_std, infonce_bound, uniformity
from tfcontrastive.losses.info_nce import info_nce, info_nce_views, symmetric_info_nce
from tfcontrastive.losses.instdisc import instance_log_normalizer, instance_nce, instance_softmax
from tfcontrastive.losses.nt_xent import nt_xent, nt_xent_views
from tfcontrastive.losses.redundancy import barlow_twins
from tfcontrastive.losses.regression import negative_cosine
from tfcontrastive.losses.relic import relic, relic_views
from tfcontrastive.losses.sup_con import sup_con

__all__ = [
    "alignment",
    "barlow_twins",
    "distillation",
    "embedding_std",
    "info_nce",
    "info_nce_views",
    "infonce_bound",
    "instance_log_normalizer",
    "instance_nce",
    "instance_softmax",
    "negative_cosine",
    "nt_xent",
    "nt_xent_views",
    "relic",
    "relic_views",
    "sup_con",
    "symmetric_info_nce",
    "uniformity",
]
