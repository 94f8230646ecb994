"""Networks from images to features, and the heads on top of them."""

from tfcontrastive.encoders.batch_norm import BatchNorm
from tfcontrastive.encoders.by_name import encoder_from_name
from tfcontrastive.encoders.channel_towers import ChannelTowers
from tfcontrastive.encoders.convnext import ConvNeXt
from tfcontrastive.encoders.dino_head import DINOHead
from tfcontrastive.encoders.efficientnet_lite import EfficientNetLite
from tfcontrastive.encoders.grid_pool import GridPool
from tfcontrastive.encoders.heads import ProjectionHead
from tfcontrastive.encoders.hub_text import hub_text_encoder
from tfcontrastive.encoders.mlp import MLP
from tfcontrastive.encoders.resnet import SMALL_IMAGE, ResNet
from tfcontrastive.encoders.text import TextEncoder
from tfcontrastive.encoders.vit import ViT
from tfcontrastive.encoders.weight_norm import WeightNormDense
from tfcontrastive.encoders.whitening import Whitening

__all__ = [
    "MLP",
    "SMALL_IMAGE",
    "BatchNorm",
    "ChannelTowers",
    "ConvNeXt",
    "DINOHead",
    "EfficientNetLite",
    "GridPool",
    "ProjectionHead",
    "ResNet",
    "TextEncoder",
    "ViT",
    "WeightNormDense",
    "Whitening",
    "encoder_from_name",
    "hub_text_encoder",
]
