"""Networks from images to features, and the heads on top of them."""

from tfcontrastive.encoders.batch_norm import BatchNorm
from tfcontrastive.encoders.heads import ProjectionHead
from tfcontrastive.encoders.mlp import MLP
from tfcontrastive.encoders.resnet import ResNet

__all__ = ["MLP", "BatchNorm", "ProjectionHead", "ResNet"]
