"""Augmentation: batched, stateless image ops and the named policies made of them."""

from tfcontrastive.augment import ops
from tfcontrastive.augment.more_views import with_views
from tfcontrastive.augment.policies import (
    POLICIES,
    Policy,
    policy,
    policy_from_config,
)
from tfcontrastive.augment.rand_augment import RandAugment
from tfcontrastive.augment.random import bernoulli, row_seeds, uniform
from tfcontrastive.augment.view import View
from tfcontrastive.augment.view_geometry import Geometry, random_view_geometry

__all__ = [
    "POLICIES",
    "Geometry",
    "Policy",
    "RandAugment",
    "View",
    "bernoulli",
    "ops",
    "policy",
    "policy_from_config",
    "random_view_geometry",
    "row_seeds",
    "uniform",
    "with_views",
]
