"""Losses: pure functions of embeddings, one family a file.

All take `[B, D]` tensors of any float dtype, compute in float32 (float64 input: in float64) and return a scalar. Those
that contrast a batch with itself see the rows of all replicas; a replica's loss is the mean over its own rows, and the
training step divides by the number of replicas, once.
"""

from tfcontrastive.losses.amdim import amdim
from tfcontrastive.losses.clip import clip
from tfcontrastive.losses.coding_rate import total_coding_rate
from tfcontrastive.losses.cpc import cpc
from tfcontrastive.losses.dcl import dcl, dcl_views
from tfcontrastive.losses.deep_infomax import deep_infomax
from tfcontrastive.losses.dino import dino
from tfcontrastive.losses.distillation import distillation
from tfcontrastive.losses.dpr import dpr
from tfcontrastive.losses.geometry import alignment, embedding_std, infonce_bound, uniformity
from tfcontrastive.losses.info_nce import info_nce, info_nce_views, symmetric_info_nce
from tfcontrastive.losses.instdisc import instance_log_normalizer, instance_nce, instance_softmax
from tfcontrastive.losses.koleo import koleo
from tfcontrastive.losses.local_aggregation import local_aggregation
from tfcontrastive.losses.nce import nce
from tfcontrastive.losses.nnclr import nnclr
from tfcontrastive.losses.nt_xent import nt_xent, nt_xent_views
from tfcontrastive.losses.redundancy import barlow_twins
from tfcontrastive.losses.regression import negative_cosine
from tfcontrastive.losses.relic import relic, relic_views
from tfcontrastive.losses.sampled_softmax import instance_info_nce
from tfcontrastive.losses.siglip import siglip
from tfcontrastive.losses.sim_cse import sim_cse
from tfcontrastive.losses.similarity_distillation import similarity_distillation
from tfcontrastive.losses.sinkhorn import sinkhorn
from tfcontrastive.losses.sup_con import sup_con
from tfcontrastive.losses.swav import swav
from tfcontrastive.losses.vicreg import vicreg

__all__ = [
    "alignment",
    "amdim",
    "barlow_twins",
    "clip",
    "cpc",
    "dcl",
    "dcl_views",
    "deep_infomax",
    "dino",
    "distillation",
    "dpr",
    "embedding_std",
    "info_nce",
    "info_nce_views",
    "infonce_bound",
    "instance_info_nce",
    "instance_log_normalizer",
    "instance_nce",
    "instance_softmax",
    "koleo",
    "local_aggregation",
    "nce",
    "negative_cosine",
    "nnclr",
    "nt_xent",
    "nt_xent_views",
    "relic",
    "relic_views",
    "siglip",
    "sim_cse",
    "similarity_distillation",
    "sinkhorn",
    "sup_con",
    "swav",
    "symmetric_info_nce",
    "total_coding_rate",
    "uniformity",
    "vicreg",
]
