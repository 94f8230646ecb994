"""Networks from images to features, and the heads on top of them."""

from tfcontrastive.encoders.batch_norm import BatchNorm
from tfcontrastive.encoders.by_name import encoder_from_name
from tfcontrastive.encoders.heads import ProjectionHead
from tfcontrastive.encoders.mlp import MLP
from tfcontrastive.encoders.resnet import SMALL_IMAGE, ResNet
from tfcontrastive.encoders.vit import ViT

__all__ = ["MLP", "SMALL_IMAGE", "BatchNorm", "ProjectionHead", "ResNet", "ViT", "encoder_from_name"]
