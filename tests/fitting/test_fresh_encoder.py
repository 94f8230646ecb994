"""The untrained network that a trained one is compared with."""

import types

import pytest

from tfcontrastive.config import DataConfig, EncoderConfig, TrainConfig
from tfcontrastive.encoders import ChannelTowers, ResNet
from tfcontrastive.fitting.stages import fresh_encoder
from tfcontrastive.methods import CONFIGS


@pytest.mark.parametrize(
    ("method", "kind", "size"), [("simclr", ResNet, 8), ("jigsaw", ResNet, None), ("cmc", ChannelTowers, 8)]
)
def test_it_takes_what_the_methods_encoder_takes(method, kind, size):
    config = TrainConfig(
        method=method,
        method_config=CONFIGS[method](),
        data=DataConfig(image_size=8),
        encoder=EncoderConfig(resnet_depth=18, width_multiplier=0.0625, zero_init_residual=False),
    )
    encoder = fresh_encoder(config, types.SimpleNamespace(channels=3))
    assert (type(encoder), encoder.input_shape) == (kind, (None, size, size, 3))
